"""Write down how the package becomes a container image; building one needs a container engine."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.services import PLACE
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node
from src.resilience.outcomes import Unavailable
from src.settings import PROJECT_ROOT

DOCKERFILE = """\
# docker build --build-context e2i={root} -t {tag} {folder}
# docker run --network host {tag}    (the server listens on this machine only)
FROM python:3.11-slim
WORKDIR /srv/e2i
COPY bundle/requirements.txt /srv/requirements.txt
RUN pip install --no-cache-dir -r /srv/requirements.txt
COPY --from=e2i pyproject.toml README.md ./
COPY --from=e2i src src
COPY --from=e2i config config
RUN pip install --no-cache-dir .
COPY bundle /srv/bundle
LABEL org.e2i.model="{model}" org.e2i.version="{version}" org.e2i.digest="{digest}"
RUN mkdir /srv/endpoint
CMD ["python", "-m", "src.mlops.serving.process", "/srv/endpoint", "/srv/bundle", "--port", "8080"]
"""


@traced_node(PLACE, "containerize_model")
async def containerize_model(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """A Dockerfile next to the package. No image is built here, and none is claimed."""
    package, request = state["package"], state["request"]
    file = Path(package.path).parent / "Dockerfile"
    text = dockerfile(request.model_name, state["version"], package.digest, file.parent)
    await asyncio.to_thread(file.write_text, text, "utf-8")
    why = "it is built by hand" if shutil.which("docker") else "there is no docker on this machine"
    image = Unavailable("container image", f"not built: {why}; {file} says how")
    return {"image": image, "degraded": (f"{image.component}: {image.reason}",)}


def dockerfile(model: str, version: int, digest: str, folder: Path) -> str:
    """Instructions that build an image from the package and this checkout."""
    tag = f"{model.lower().replace(' ', '-')}:{version}"
    return DOCKERFILE.format(root=PROJECT_ROOT, tag=tag, folder=folder, model=model, version=version, digest=digest)
