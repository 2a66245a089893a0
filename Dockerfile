FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000 ENVIRONMENT=production DATA_DIR=/data
WORKDIR /app
COPY requirements-prod.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements-prod.txt
COPY manage.py ./
COPY proxy_site proxy_site
COPY routing routing
COPY api api
COPY CHANGELOG.md pyproject.toml ./
RUN useradd --system --create-home patchbay && mkdir /data && chown patchbay /data
USER patchbay
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "manage.py", "serve"]
