FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/inventory

COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --requirement requirements.txt

COPY . .
# The user owns no file here but the folder for data: what runs cannot rewrite the code.
RUN useradd --system --uid 10001 --no-create-home inventory && install --directory --owner=inventory var
USER 10001

EXPOSE 3006
# Asks by a name that ALLOWED_HOSTS lets in, else a healthy service would answer 400.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import os, urllib.request; \
port = os.environ.get('INVENTORY_PORT') or '3006'; \
host = (os.environ.get('ALLOWED_HOSTS') or 'localhost').split(',')[0].strip().lstrip('.'); \
urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{port}/health/live', headers={'Host': host}), timeout=3)"]
CMD ["python", "manage.py", "serve"]
