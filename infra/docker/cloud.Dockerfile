# syntax=docker/dockerfile:1
# `raccoon cloud`, from the repository's root: docker build -f infra/docker/cloud.Dockerfile -t raccoon-cloud:0.1.0 .
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
# Node 22.12 and newer see the processors of the container, not of the machine: workers x threads are right by themselves.
USER 10001:10001
EXPOSE 50051 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9090/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "packages/cli/bin/raccoon.js"]
CMD ["cloud", "--listen=0.0.0.0:50051", "--insecure", "--metrics-port=0.0.0.0:9090"]
