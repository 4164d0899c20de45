# CPU image with the command `zeroshot` and the example photographs.
#
#   docker build -t zeroshot .
#   docker run --rm zeroshot
#   docker run --rm -v "$PWD:/data" -v zeroshot-cache:/cache zeroshot \
#       classify /data/photos --labels "cat,dog" --top 1 --csv
#
# The second command needs no network. The third downloads CLIP ViT-B/32 once into the volume.
FROM python:3.13-slim

# before the sources: this layer is large and seldom changes
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu

WORKDIR /app
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY prompts prompts
COPY weights weights
COPY src src
RUN pip install --no-cache-dir .
COPY examples examples

ENV HF_HOME=/cache/huggingface ZEROSHOT_CACHE=/cache/zeroshot
RUN useradd --create-home zeroshot && mkdir /cache && chown zeroshot /cache
USER zeroshot
VOLUME /cache

ENTRYPOINT ["zeroshot"]
CMD ["classify", "examples/photos/cat.jpg", "examples/photos/boats.jpg", "--labels", "cat,boat,car", "--model", "mini"]
