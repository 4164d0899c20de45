# CPU image with the command `zeroshot` and the example photographs.
#
#   docker build -t zeroshot .
#   docker run --rm zeroshot
#   docker run --rm -v "$PWD:/data" -v zeroshot-cache:/cache zeroshot \
#       classify /data/photos --labels "cat,dog" --top 1 --csv
#
# The second command needs no network. The third downloads CLIP ViT-B/32 once into the volume.
# The target `serve` is a server; set its API key in ZEROSHOT_API_KEY:
#
#   docker build --target serve -t zeroshot-serve .
#   docker run --rm -p 127.0.0.1:8000:8000 -e ZEROSHOT_API_KEY zeroshot-serve
FROM python:3.13-slim AS base

# before the sources: this layer is large and seldom changes
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu

WORKDIR /app
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY prompts prompts
COPY weights weights
COPY src src
RUN pip install --no-cache-dir .

ENV HF_HOME=/cache/huggingface ZEROSHOT_CACHE=/cache/zeroshot
RUN useradd --create-home zeroshot && mkdir /cache && chown zeroshot /cache
VOLUME /cache

ENTRYPOINT ["zeroshot"]

FROM base AS serve
RUN pip install --no-cache-dir '.[serve]'
USER zeroshot
EXPOSE 8000
HEALTHCHECK --start-period=10m CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
CMD ["serve", "--model", "mini", "--host", "0.0.0.0"]

# the last stage is the default target
FROM base AS cli
COPY examples examples
USER zeroshot
CMD ["classify", "examples/photos/cat.jpg", "examples/photos/boats.jpg", "--labels", "cat,boat,car", "--model", "mini"]
