# syntax=docker/dockerfile:1
# Training and export, from the repository's root: docker build -f infra/docker/training.Dockerfile -t raccoon-training:0.1.0 .
#   docker run --rm --gpus all --shm-size 8g -v ./data:/data:ro -v ./runs:/runs raccoon-training:0.1.0 train --help
# Not built where this repository is made (no container engine): hadolint and test/infra read it. Tags, not digests: pin your own.

FROM python:3.12-slim-bookworm AS build
COPY packages/training/requirements.txt /src/
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -r /src/requirements.txt

FROM python:3.12-slim-bookworm
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
COPY --from=build /venv /venv
WORKDIR /app
COPY packages/training/raccoon_training raccoon_training
COPY LICENSE ./
USER 10001:10001
# a run that ends: there is nothing to probe
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "raccoon_training"]
CMD ["--help"]
