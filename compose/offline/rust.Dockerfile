# Stands in for rust:1.95-slim-trixie where no registry can be reached: the toolchain of this machine, where that image
# has its own. The context is the toolchain's folder (rustc --print sysroot).
FROM debian:trixie-slim
RUN apt-get update -q && \
    apt-get install -qy --no-install-recommends ca-certificates gcc libc6-dev && \
    rm -rf /var/lib/apt/lists/*
COPY bin/cargo bin/rustc /usr/local/rustup/bin/
COPY lib /usr/local/rustup/lib
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/rustup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
