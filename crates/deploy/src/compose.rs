//! Docker Compose: the broker, where a tier asks for the embedded one, and each tier as a service.

use std::collections::BTreeMap;

use crate::file::{File, Rendering, header};
use crate::image;
use crate::kubernetes::types::Scalar;
use crate::plan::{METRICS_PORT, MODELS, Place, Plan, STOP_TIMEOUT_S, USER, pipeline_file};
use crate::yaml::{self, Or, artefact};

/// Where the broker has its log.
const DATA: &str = "/data";
const CONFIG: &str = "/etc/offramp/offramp.toml";

artefact! { "snake_case":
    struct ComposeFile {
        name: String,
        services: BTreeMap<String, ComposeService>,
        volumes: BTreeMap<String, Option<ComposeVolume>>,
    }

    struct ComposeVolume {
        driver: String,
    }

    struct ComposeService {
        build: Option<Or<ComposeBuild>>,
        image: String,
        platform: String,
        command: Or<Vec<String>>,
        user: String,
        environment: Or<BTreeMap<String, String>>,
        depends_on: Or<Vec<String>>,
        ports: Or<Vec<String>>,
        volumes: Or<Vec<String>>,
        tmpfs: Or<Vec<String>>,
        read_only: bool,
        cap_drop: Vec<String>,
        security_opt: Vec<String>,
        mem_limit: Option<Scalar>,
        mem_reservation: Option<Scalar>,
        cpus: Option<Scalar>,
        stop_grace_period: String,
        restart: String,
        deploy: Option<ComposeDeploy>,
    }

    struct ComposeBuild {
        context: String,
    }

    struct ComposeDeploy {
        replicas: Option<u32>,
    }
}

pub(crate) fn render(plan: &Plan<'_>) -> Rendering {
    let mut files = image::files(plan);
    let mut services = BTreeMap::new();
    let mut volumes = BTreeMap::new();
    let mut text = pipeline_file(plan, MODELS);
    text.insert_str(0, &header("#", "The pipeline as the containers read it."));
    if plan.pipeline.broker.is_some() {
        services.insert("broker".to_owned(), broker(plan));
        volumes.insert("log".to_owned(), Some(ComposeVolume { driver: "local".to_owned() }));
        // A new volume is as its folder in the image, so the folder has to be, and to be the user's.
        files.push(File::text("data/.keep", ""));
        let user = format!("COPY --chown={USER}:{USER} data/ {DATA}/\n");
        let is_image = |file: &&mut File| file.path == "Dockerfile";
        if let Some(crate::Content::Text(image)) =
            files.iter_mut().find(is_image).map(|file| &mut file.content)
        {
            image.push_str(&user);
        }
    }
    services.extend(plan.places().map(|place| (place.label.clone(), tier(plan, place))));
    let compose = ComposeFile { name: plan.name.clone(), services, volumes };
    let what = format!("Pipeline `{}` with Docker Compose.", plan.pipeline.name);
    files.push(File::text("offramp.toml", text));
    files.push(File::text("compose.yaml", header("#", &what) + &yaml::write(&compose)));
    Rendering { files, notes: Vec::new() }
}

fn service(image: &str) -> ComposeService {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    ComposeService {
        build: Some(ComposeBuild { context: ".".to_owned() }.into()),
        image: image.to_owned(),
        user: format!("{USER}:{USER}"),
        tmpfs: Or::Ours(words(&["/tmp"])),
        read_only: true,
        cap_drop: words(&["ALL"]),
        security_opt: words(&["no-new-privileges:true"]),
        stop_grace_period: format!("{STOP_TIMEOUT_S}s"),
        restart: "unless-stopped".to_owned(),
        ..ComposeService::default()
    }
}

fn broker(plan: &Plan<'_>) -> ComposeService {
    let image = plan.places().next().map_or_else(|| image::base(plan), |place| place.image.clone());
    let command =
        ["broker", "--dir", DATA, "--listen", "0.0.0.0:9092", "--advertise", "broker:9092"];
    ComposeService {
        command: command.map(str::to_owned).to_vec().into(),
        volumes: vec![format!("log:{DATA}")].into(),
        ..service(&image)
    }
}

fn tier(plan: &Plan<'_>, place: &Place<'_>) -> ComposeService {
    let deploy = &place.tier.deploy;
    let command = ["up", "--tier", &place.tier.name, CONFIG];
    let metrics = ("OFFRAMP_METRICS".to_owned(), format!("0.0.0.0:{METRICS_PORT}"));
    let memory = |mib: Option<u64>| mib.map(|mib| Scalar::Text(format!("{mib}m")));
    let replicas = (1 < place.replicas.max).then_some(place.replicas.max as u32);
    ComposeService {
        platform: deploy
            .architecture
            .map(|one| format!("linux/{}", one.name()))
            .unwrap_or_default(),
        command: command.map(str::to_owned).to_vec().into(),
        environment: BTreeMap::from([metrics]).into(),
        depends_on: Or::Ours(plan.pipeline.broker.iter().map(|_| "broker".to_owned()).collect()),
        volumes: vec![format!("./offramp.toml:{CONFIG}:ro")].into(),
        mem_limit: memory(deploy.limits.memory_mib),
        mem_reservation: memory(deploy.requests.memory_mib),
        cpus: deploy.limits.cpu_millis.map(|millis| Scalar::Number(millis as f64 / 1000.0)),
        deploy: replicas.map(|replicas| ComposeDeploy { replicas: Some(replicas) }),
        ..service(&place.image)
    }
}
