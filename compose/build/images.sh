#!/bin/sh
# Builds the image of each program: images.sh [TAG], `local` unless told otherwise.
set -eu
cd "$(dirname "$0")/../.."
tag=${1:-local}
registry=${QUIZSTACK_REGISTRY:-localhost/quizstack}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

for name in firewall lb storage quiz; do
    # The first one compiles, the others take what it has left.
    docker build --file compose/Dockerfile --target "$name" --tag "$registry/$name:$tag" \
        ${PROFILE:+--build-arg "PROFILE=$PROFILE"} --build-arg "REVISION=$revision" --build-arg "VERSION=$tag" .
done
docker image ls --format 'table {{.Repository}}:{{.Tag}}\t{{.Size}}' --filter "reference=$registry/*:$tag"
