"""How is a model turned into files, stored with its run and loaded again?"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from src.errors import ConfigError, ContractViolation, ModelNotFound
from src.mlops.mlflow.failures import StoreRefused, translated
from src.mlops.mlflow.journal import Entry
from src.mlops.mlflow.store import Client, quietly

Flavor = Literal["sklearn", "xgboost", "lightgbm", "pyfunc"]
FLAVORS: tuple[Flavor, ...] = get_args(Flavor)
# One entry, one logged model: a push whose answer was lost is continued instead of repeated.
ENTRY_ID = "e2i.entry_id"

_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "sklearn": ("scikit-learn", "skops", "numpy", "pandas"),
    "xgboost": ("xgboost", "scikit-learn", "skops", "numpy", "pandas"),
    "lightgbm": ("lightgbm", "scikit-learn", "skops", "numpy", "pandas"),
    "pyfunc": ("cloudpickle", "numpy", "pandas"),
}
# Distributions that provide the same package under another name.
_ALTERNATIVES = {"xgboost": ("xgboost", "xgboost-cpu")}
# skops loads these from files we wrote ourselves; anything else in a model is refused when it is saved.
_TRUSTED_PACKAGES = ("sklearn.", "lightgbm.", "xgboost.", "numpy.", "scipy.", "collections.", "src.mlops.modelling.")


def checked_flavor(flavor: str) -> Flavor:
    """``flavor`` if it is one. Raises ContractViolation, or ConfigError when its package is not installed."""
    known = next((name for name in FLAVORS if name == flavor), None)
    if known is None:
        raise ContractViolation(f"flavor '{flavor}' is unknown; there is: {', '.join(FLAVORS)}")
    if known != "pyfunc" and not _installed(known):
        package = {"sklearn": "scikit-learn", "xgboost": "xgboost-cpu"}.get(known, known)
        raise ConfigError(f"flavor '{known}' needs a package that is not installed: pip install {package}")
    return known


def save_model(model: Any, flavor: Flavor, folder: Path, *, signature: Any, input_example: Any) -> None:
    """Write ``model`` into ``folder`` in MLflow's format, without any server.

    Requirements are the installed versions: inferring them would load the model in another process.
    Raises ContractViolation when the flavor does not take the model.
    """
    from mlflow.exceptions import MlflowException

    module = _module(flavor)
    options: dict[str, Any] = {
        "path": str(folder),
        "signature": signature,
        "input_example": input_example,
        "pip_requirements": requirements(flavor),
    }
    try:
        with quietly():
            if flavor == "pyfunc":
                module.save_model(python_model=_as_python_model(model), **options)
            else:
                module.save_model(model, **_trusting(model, flavor), **options)
    except MlflowException as error:
        raise ContractViolation(
            f"a {type(model).__name__} cannot be stored as {flavor}: {' '.join(str(error).split())[:300]}"
        ) from error


def requirements(flavor: Flavor) -> list[str]:
    """``package==version`` for everything the flavor needs, as installed here."""
    found = (_pinned(name) for name in _PACKAGES[flavor])
    return [requirement for requirement in found if requirement]


def push_model(client: Client, run_id: str, folder: Path, entry: Entry, *, again: bool) -> Any:
    """Store a saved model with its run; ``again``: continue an earlier push of the entry. Returns MLflow's model."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    run = client.get_run(run_id)
    experiment_id, name = run.info.experiment_id, entry["name"]
    model = _pushed_before(client, experiment_id, entry["id"]) if again else None
    if model is None:
        tags = {ENTRY_ID: entry["id"], "flavor": entry["flavor"]}
        params = dict(run.data.params)
        model = client.create_logged_model(experiment_id, name=name, source_run_id=run_id, tags=tags, params=params)
    outputs = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    description = Model.load(str(folder))
    description.run_id, description.model_id = run_id, model.model_id
    description.artifact_path = model.artifact_location
    description.save(str(folder / "MLmodel"))
    client.log_model_artifacts(model.model_id, str(folder))
    return client.finalize_logged_model(model.model_id, "READY")


def find_logged_model(client: Client, run_id: str, name: str) -> Any:
    """The newest model stored with a run under ``name``. Raises ModelNotFound."""
    try:
        with translated():
            run = client.get_run(run_id)
    except StoreRefused as refusal:
        if refusal.absent:
            raise ModelNotFound(f"MLflow has no run '{run_id}'") from refusal
        raise
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(output.model_id) for output in outputs]
    named = [model for model in models if model.name == name]
    if not named:
        there = ", ".join(sorted({model.name for model in models})) or "none"
        raise ModelNotFound(f"run '{run_id}' has no model '{name}'; its models: {there}")
    return max(named, key=lambda model: model.creation_timestamp)


def load_folder(folder: str, flavor: Flavor | None) -> Any:
    """The model in a folder, in its own flavor unless another one is named. Raises ModelNotFound."""
    from mlflow.models import Model

    stored = Model.load(folder).flavors
    native = next((name for name in ("lightgbm", "xgboost", "sklearn") if name in stored), "pyfunc")
    wanted = flavor or native
    if ("python_function" if wanted == "pyfunc" else wanted) not in stored:
        raise ModelNotFound(f"the model is stored as {native}, not as {wanted}")
    module = _module(checked_flavor(wanted))
    with quietly():
        return module.load_model(folder)


def _pushed_before(client: Client, experiment_id: str, entry_id: str) -> Any | None:
    found = client.search_logged_models(
        [experiment_id], filter_string=f"tags.`{ENTRY_ID}` = '{entry_id}'", max_results=1
    )
    return found[0] if found else None


def _module(flavor: Flavor) -> Any:
    with quietly():
        return importlib.import_module(f"mlflow.{flavor}")


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:
        return False


def _pinned(name: str) -> str | None:
    for distribution in _ALTERNATIVES.get(name, (name,)):
        try:
            return f"{distribution}=={importlib.metadata.version(distribution)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _trusting(model: Any, flavor: Flavor) -> dict[str, Any]:
    """The types of this fitted model that skops may load again: those of the libraries it is made of."""
    import skops.io

    if flavor != "sklearn":
        return {}
    untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    foreign = [name for name in untrusted if not name.startswith(_TRUSTED_PACKAGES)]
    if foreign:
        raise ContractViolation(
            f"a {type(model).__name__} holds types outside scikit-learn ({', '.join(foreign)[:200]}); "
            "store it with flavor 'pyfunc', which pickles it"
        )
    return {"skops_trusted_types": untrusted}


def _as_python_model(model: Any) -> Any:
    from mlflow.pyfunc import PythonModel

    if isinstance(model, PythonModel):
        return model
    predict: Any = getattr(model, "predict", model)
    if not callable(predict):
        raise ContractViolation(f"a {type(model).__name__} has no predict(): it cannot be stored as pyfunc")

    # Defined here, so that cloudpickle stores it by value and loading needs nothing of this project.
    class Predictor(PythonModel):  # type: ignore[misc, unused-ignore]
        # MLflow would read annotations as the schema of the input, and advises on those that are missing.
        _skip_type_hint_validation = True

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return predict(model_input)

    return Predictor()
