//! Configuration: `DescribeConfigs`, `AlterConfigs` and `IncrementalAlterConfigs`.

use crate::ErrorCode;
use crate::schema::messages;

messages! {
    struct DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource> [0..],
        include_synonyms: bool [1..],
        include_documentation: bool [3..],
    }

    struct DescribeConfigsResource {
        resource_type: i8 [0..],
        resource_name: String [0..],
        /// None asks for all.
        configuration_keys: Option<Vec<String>> [0..],
    }

    struct DescribeConfigsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<DescribeConfigsResult> [0..],
    }

    struct DescribeConfigsResult {
        error_code: ErrorCode [0..],
        error_message: Option<String> [0..],
        resource_type: i8 [0..],
        resource_name: String [0..],
        configs: Vec<DescribedConfig> [0..],
    }

    struct DescribedConfig {
        name: String [0..],
        value: Option<String> [0..],
        read_only: bool [0..],
        config_source: i8 [1..] = -1,
        is_sensitive: bool [0..],
        synonyms: Vec<ConfigSynonym> [1..],
        config_type: i8 [3..],
        documentation: Option<String> [3..],
    }

    struct ConfigSynonym {
        name: String [1..],
        value: Option<String> [1..],
        source: i8 [1..],
    }

    /// Replaces all that is set for a resource.
    struct AlterConfigsRequest {
        resources: Vec<AlterConfigsResource> [0..],
        validate_only: bool [0..],
    }

    struct AlterConfigsResource {
        resource_type: i8 [0..],
        resource_name: String [0..],
        configs: Vec<AlterableConfig> [0..],
    }

    struct AlterableConfig {
        name: String [0..],
        value: Option<String> [0..],
    }

    struct AlterConfigsResponse {
        throttle_time_ms: i32 [0..],
        responses: Vec<AlteredResource> [0..],
    }

    struct AlteredResource {
        error_code: ErrorCode [0..],
        error_message: Option<String> [0..],
        resource_type: i8 [0..],
        resource_name: String [0..],
    }

    /// Changes single settings of a resource.
    struct IncrementalAlterConfigsRequest {
        resources: Vec<IncrementalResource> [0..],
        validate_only: bool [0..],
    }

    struct IncrementalResource {
        resource_type: i8 [0..],
        resource_name: String [0..],
        configs: Vec<ConfigOperation> [0..],
    }

    struct ConfigOperation {
        name: String [0..],
        config_operation: i8 [0..],
        value: Option<String> [0..],
    }

    struct IncrementalAlterConfigsResponse {
        throttle_time_ms: i32 [0..],
        responses: Vec<AlteredResource> [0..],
    }
}
