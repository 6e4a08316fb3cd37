"""The page of the OpenAPI document. DRF's settings name `schema`, so a view that needs DRF cannot be there."""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class SchemaView(SpectacularAPIView):
    """The OpenAPI document. Each form of it is made once in a process, because that takes as long as many sales."""

    def _get_schema_response(self, request: Request) -> HttpResponseBase:
        renderer: Any = request.accepted_renderer
        name = self._get_filename(request, None)  # type: ignore[no-untyped-call]
        headers = {"Content-Disposition": f'inline; filename="{name}"'}
        kind: Any = type(renderer)
        return HttpResponse(_document(kind), content_type=renderer.media_type, headers=headers)


@cache
def _document(renderer: Callable[[], BaseRenderer]) -> bytes:
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    rendered: Any = renderer().render(document, renderer_context={})
    return bytes(rendered)
