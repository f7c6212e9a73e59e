# A fresh Debian that runs the demo and the tests: `make container-test SUITE=trixie`.
ARG SUITE=trixie
FROM debian:${SUITE}-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates make
WORKDIR /opt/kamailio-stirshaken
COPY . .
RUN make tools
CMD ["make", "demo", "test"]
