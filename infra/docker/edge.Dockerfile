# syntax=docker/dockerfile:1
# `raccoon edge`, from the repository's root: docker build -f infra/docker/edge.Dockerfile -t raccoon-edge:0.1.0 .
#   docker run --rm -v ./photos:/photos:ro raccoon-edge:0.1.0 /photos --cloud cloud.example:50051 --tls
# Not built where this repository is made (no container engine): hadolint and test/infra read it. Tags, not digests: pin your own.

FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc tsconfig.json tsconfig.base.json ./
COPY packages packages
RUN npm ci && npx tsc --build && npm prune --omit=dev

FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /src/node_modules node_modules
COPY --from=build /src/packages packages
COPY bundles bundles
COPY package.json LICENSE ./
USER 10001:10001
# it ends with its last photo: there is nothing to probe
HEALTHCHECK NONE
ENTRYPOINT ["node", "packages/cli/bin/raccoon.js", "edge"]
CMD ["--help"]
