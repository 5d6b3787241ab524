# gaggle in a small image: docker run --rm -v "$PWD:/tests:ro" IMAGE loadtest.py --users 8 --run-time 1m
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev zlib1g-dev
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels ".[gaggle,otlp]"

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "gaggle-loadtest[gaggle,otlp]" \
    && useradd --create-home --uid 1000 gaggle
USER gaggle
# Load tests are mounted here. A report goes to a directory that this user may write.
WORKDIR /tests
ENTRYPOINT ["gaggle"]
