# The one image: `dotmesh` in every role, and `dm`. Build the programs first:
#   make build && docker build -t dotmesh.io/dotmesh:dev .
# The server uses the host's ZFS commands where they fit the host's kernel
# module, and else the image's, which must then have the module's major.minor. So
# there is an image for each, by its base:
#   ZFS 2.1  BASE=debian:bookworm-slim (the default)
#   ZFS 2.2  BASE=ubuntu:24.04
#   ZFS 2.3  BASE=debian:trixie-slim
# The hostid that the packages make is removed: all pods would have the same one.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN set -eu; \
    . /etc/os-release; \
    if [ "$ID" = debian ]; then \
      for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do \
        [ ! -f "$f" ] || sed -i -E '/contrib/!s/^(Components: main|deb .* main)/\1 contrib/' "$f"; \
      done; \
    fi; \
    apt-get update -q; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
      ca-certificates e2fsprogs kmod util-linux zfsutils-linux; \
    rm -rf /var/lib/apt/lists/* /etc/hostid
COPY bin/dotmesh bin/dm /usr/local/bin/
ENTRYPOINT ["dotmesh"]
