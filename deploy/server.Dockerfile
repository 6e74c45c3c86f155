# The server of compose.yaml: Python, recipe-isolation, and what `isolation serve` needs. scripts/service-images builds it.

ARG BASE=debian:bookworm-slim

FROM ${BASE}

# A base that is made from Debian's packages brings these already.
RUN if ! command -v python3 >/dev/null; then \
        export DEBIAN_FRONTEND=noninteractive \
        && apt-get update -q \
        && apt-get install -qy --no-install-recommends python3 ca-certificates media-types \
        && rm -rf /var/lib/apt/lists/*; \
    fi
COPY site/ /opt/isolation/
# Nothing but /tmp can be written there, which is memory.
ENV PYTHONPATH=/opt/isolation PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8 HOME=/tmp
ENTRYPOINT ["/usr/bin/python3", "-P", "/opt/isolation/bin/isolation"]
