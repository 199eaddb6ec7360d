# Stands in for postgres:17-trixie where no registry can be reached: Debian's server behind the same variables, paths,
# user and signals, as far as our stack uses them (docker-entrypoint.sh says which).
FROM debian:trixie-slim
RUN groupadd --system --gid 999 postgres && \
    useradd --system --uid 999 --gid postgres --home-dir /var/lib/postgresql --shell /usr/sbin/nologin postgres && \
    apt-get update -q && \
    apt-get install -qy --no-install-recommends postgresql-common && \
    mkdir -p /etc/postgresql-common/createcluster.d && \
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/none.conf && \
    apt-get install -qy --no-install-recommends postgresql-17 && \
    rm -rf /var/lib/apt/lists/* /etc/postgresql /var/log/postgresql && \
    mkdir -p /docker-entrypoint-initdb.d && \
    install -d -o postgres -g postgres -m 1777 /var/lib/postgresql/data && \
    install -d -o postgres -g postgres -m 3777 /var/run/postgresql
COPY docker-entrypoint.sh /usr/local/bin/
ENV LANG=C.UTF-8 PG_MAJOR=17 PGDATA=/var/lib/postgresql/data PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
