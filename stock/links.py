"""Links from admin pages to the stock pages."""

from urllib.parse import urlencode

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString


def movements_link(**lookups: object) -> SafeString:
    """A link to the movements that these lookups find."""
    address = f"{reverse('admin:stock_stockmovement_changelist')}?{urlencode(lookups)}"
    return format_html('<a href="{}">movements</a>', address)
