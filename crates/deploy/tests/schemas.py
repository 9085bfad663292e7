"""Rendered files against published schemas: Kubernetes' own, Compose's, and models of KEDA's resources and Knative's services.

usage: schemas.py GOLDEN_FOLDER DOCKER_COMPOSE_WHEEL

Prints what does not fit, and how many documents did.
"""

import importlib
import json
import pathlib
import sys
import warnings
import zipfile

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.37"
CORE = {"v1", "apps/v1", "policy/v1", "networking.k8s.io/v1"}
MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "serving.knative.dev/v1": "cloudcoil.models.knative_serving.serving.v1",
}


def unread(given, kept, path=""):
    """The keys of a document that its model does not have."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                yield f"{path}.{key}"
            else:
                yield from unread(value, kept[key], f"{path}.{key}")
    elif isinstance(given, list) and isinstance(kept, list):
        for at, (one, other) in enumerate(zip(given, kept)):
            yield from unread(one, other, f"{path}[{at}]")


def check_model(document):
    module = importlib.import_module(MODELS[document["apiVersion"]])
    model = getattr(module, document["kind"])
    read = model.model_validate(document)
    kept = json.loads(read.model_dump_json(by_alias=True))
    keys = list(unread(document, kept))
    if keys:
        raise ValueError(f"unknown keys: {', '.join(keys)}")


def check(document, path, compose):
    """Whether there is a schema for a document; raises where it does not fit."""
    version = document.get("apiVersion")
    if path.name == "compose.yaml":
        # The schema is of 2021, and `name` at the top came a year later.
        jsonschema.validate({key: value for key, value in document.items() if key != "name"}, compose)
    elif version in CORE:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    elif version in MODELS:
        check_model(document)
    else:
        return False
    return True


def main():
    warnings.simplefilter("ignore")
    folder, wheel = sys.argv[1:]
    compose = json.loads(zipfile.ZipFile(wheel).read("compose/config/compose_spec.json"))
    fits, without, wrong = 0, 0, []
    for path in sorted(pathlib.Path(folder).rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            try:
                has_schema = check(document, path, compose)
                fits, without = fits + has_schema, without + (not has_schema)
            except Exception as error:
                wrong.append(f"{path}: {document.get('kind', 'compose')}: {str(error).splitlines()[0]}")
    print("\n".join(wrong) if wrong else f"{fits} documents fit published schemas; {without} have none that can be fetched")
    sys.exit(bool(wrong))


main()
