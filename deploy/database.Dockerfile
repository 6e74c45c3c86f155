# The database of compose.yaml: PostgreSQL, as an account of its own. scripts/service-images builds it.

ARG BASE=debian:bookworm-slim

FROM ${BASE}

# A base that is made from Debian's packages brings it already.
RUN if ! [ -d /usr/lib/postgresql ]; then \
        export DEBIAN_FRONTEND=noninteractive \
        && apt-get update -q \
        && apt-get install -qy --no-install-recommends postgresql \
        && rm -rf /var/lib/apt/lists/*; \
    fi; \
    rm -rf /var/lib/postgresql \
    && usermod --uid 999 --home /nonexistent postgres \
    && groupmod --gid 999 postgres \
    && install -d -o 999 -g 999 -m 0700 /var/lib/postgresql
COPY postgresql.sh /usr/local/bin/postgresql.sh
ENV LANG=C.UTF-8
USER 999:999
ENTRYPOINT ["/bin/bash", "/usr/local/bin/postgresql.sh"]
