"""The second factor of staff: six digits that an app on the phone shows (TOTP), or one of ten backup codes.

The setting STAFF_SECOND_FACTOR says whether it is off, optional or required. Secrets and codes are django-otp's, which
takes each code once and slows down after a wrong one. Every change of a second factor that is set up needs a code.
"""

import re
from base64 import b32encode

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from inventory_project.foundation.errors import Invalid, NotFound

OFF, OPTIONAL, REQUIRED = "off", "optional", "required"
BACKUP_CODES = 10
SESSION_KEY = "second_factor"  # of a session whose user has given a code
FORMS = (("[0-9]{6}", TOTPDevice), ("[a-z2-7]{8}", StaticDevice))
WRONG_CODE = "This code is wrong, or was used before. After a few wrong ones, wait a while."


def is_set_up(user: User) -> bool:
    """Whether the user has a second factor."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def accepts(user: User, code: str) -> bool:
    """Whether the user may log in with this code: it is right, or none is needed."""
    return settings.STAFF_SECOND_FACTOR == OFF or not is_set_up(user) or _is_right(user, code)


def remember(request: HttpRequest, user: User) -> None:
    """Note in the session that its user has just logged in with a code, if one was needed."""
    if settings.STAFF_SECOND_FACTOR != OFF and is_set_up(user):
        request.session[SESSION_KEY] = True


def is_missing(request: HttpRequest) -> bool:
    """Whether the session's user must give a code, and has not."""
    return settings.STAFF_SECOND_FACTOR == REQUIRED and not request.session.get(SESSION_KEY)


def pending(user: User) -> TOTPDevice:
    """The secret that the user has to put into an app, and to confirm with a first code."""
    with transaction.atomic():
        _lock(user)
        device = TOTPDevice.objects.filter(user=user, confirmed=False).first()
        return device or TOTPDevice.objects.create(user=user, name="app", confirmed=False)


def secret_of(device: TOTPDevice) -> str:
    """The secret as people type it into an app: base32, in groups of four."""
    plain = b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(re.findall(".{1,4}", plain))


def set_up(user: User, code: str) -> list[str]:
    """Confirm the pending secret with its first code. Returns the backup codes. Raises Invalid if the code is wrong."""
    with transaction.atomic():
        _lock(user)
        device = TOTPDevice.objects.filter(user=user, confirmed=False).first()
        is_right = device is not None and not is_set_up(user) and device.verify_token(_plain(code))
        if is_right:
            TOTPDevice.objects.filter(pk=device.pk).update(confirmed=True)
            codes = _new_backup_codes(user)
    if not is_right:
        raise Invalid(WRONG_CODE)
    return codes


def renew_backup_codes(user: User, code: str) -> list[str]:
    """Replace the backup codes. Raises Invalid if the code is wrong."""
    if not _is_right(user, code):
        raise Invalid(WRONG_CODE)
    with transaction.atomic():
        _lock(user)
        return _new_backup_codes(user)


def remove(user: User, code: str) -> None:
    """Remove the second factor. Raises Invalid if the code is wrong."""
    if not _is_right(user, code):
        raise Invalid(WRONG_CODE)
    reset(user)


def reset(user: User) -> None:
    """Remove the second factor of a user who has lost it. Raises NotFound if there is none."""
    with transaction.atomic():
        _lock(user)
        number, _ = TOTPDevice.objects.filter(user=user).delete()
        StaticDevice.objects.filter(user=user).delete()
    if not number:
        raise NotFound(f"{user.get_username()} has no second factor.")


def backup_codes_left(user: User) -> int:
    """How many backup codes the user has not used yet."""
    return int(StaticToken.objects.filter(device__user=user).count())


def _is_right(user: User, code: str) -> bool:
    """Whether the code is the app's present one, or a backup code. It cannot be used again.

    After wrong codes each of the two refuses all for a while; a right one of either ends that for both.
    """
    plain = _plain(code)
    model = next((model for pattern, model in FORMS if re.fullmatch(pattern, plain)), None)
    if model is None:
        return False
    with transaction.atomic():
        device = model.objects.select_for_update().filter(user=user, confirmed=True).first()
        if device is None or not device.verify_token(plain):
            return False
        for each in (TOTPDevice, StaticDevice):
            each.objects.filter(user=user).update(throttling_failure_timestamp=None, throttling_failure_count=0)
        return True


def _plain(code: str) -> str:
    """The code without the spaces and hyphens that people put into it."""
    return re.sub(r"[\s-]", "", code).lower()


def _new_backup_codes(user: User) -> list[str]:
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="backup codes")
    codes = [StaticToken.random_token() for _ in range(BACKUP_CODES)]
    StaticToken.objects.bulk_create([StaticToken(device=device, token=code) for code in codes])
    return codes


def _lock(user: User) -> None:
    """Let changes of one user's second factor happen one after the other."""
    User.objects.select_for_update().get(pk=user.pk)
