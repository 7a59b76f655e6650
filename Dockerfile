# telementor in one image: the server, its embedded store and the web client. Everything it keeps is in /data.

FROM python:3.12-slim-bookworm AS build
WORKDIR /build
# Packages first: they change less often than the code. Node comes with the development lock.
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements-dev.lock
RUN python -m venv /opt/telementor && /opt/telementor/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements.lock
COPY web_client web_client
RUN PATH="/opt/build/bin:$PATH" npm --prefix web_client ci --no-audit --no-fund && PATH="/opt/build/bin:$PATH" npm --prefix web_client run build
COPY pyproject.toml LICENSE README.md ./
COPY config config
COPY media media
COPY rooms rooms
COPY signaling signaling
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . && /opt/telementor/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.12-slim-bookworm
COPY --from=build /opt/telementor /opt/telementor
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin telementor && install -d -m 0700 -o telementor -g telementor /data
ENV PATH="/opt/telementor/bin:$PATH" PYTHONUNBUFFERED=1 TELEMENTOR_HOST=0.0.0.0 TELEMENTOR_PORT=8000 TELEMENTOR_DATA=/data
USER telementor
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"TELEMENTOR_PORT\"]}/healthz', timeout=4)"]
CMD ["telementor", "serve"]
