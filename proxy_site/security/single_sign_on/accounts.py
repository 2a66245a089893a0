"""The account of a person who signed in elsewhere: made at the first time, brought in line at every other."""

from __future__ import annotations

import logging

from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction

from proxy_site.security.models import Identity
from proxy_site.security.single_sign_on.claims import Person, Refused

logger = logging.getLogger("patchbay.sign_in")


def bring_in(person: Person, issuer: str) -> User:
    """The person's account, with exactly the groups that the provider's groups mean.

    Rights that somebody gave the account here are taken away again: what the provider
    grants is all that it has. An account that was made here is never taken over, even
    if its name is the person's address.
    """
    groups = list(Group.objects.filter(name__in=person.groups))
    if unknown := sorted(person.groups - {group.name for group in groups}):
        logger.warning("OIDC_GROUP_MAP names groups that do not exist", extra={"fields": {"groups": unknown}})
    if not groups:
        raise Refused("The groups that you should have do not exist here. Ask whoever runs this proxy.")
    with transaction.atomic():
        identity = _find(issuer, person.subject) or _make(person, issuer)
        user = identity.user
        if not user.is_active:
            raise Refused("Your account here is switched off.")
        user.email = person.email
        user.first_name = person.first_name
        user.last_name = person.last_name
        user.is_staff = True
        user.is_superuser = False
        user.save(update_fields=["email", "first_name", "last_name", "is_staff", "is_superuser"])
        user.groups.set(groups)
        user.user_permissions.clear()
    return user


def shut_out(subject: str, issuer: str) -> None:
    """Take an account's rights away, in sessions that are open too: the provider grants none any more."""
    identity = _find(issuer, subject)
    if identity is None:
        return
    user = identity.user
    with transaction.atomic():
        user.is_staff = user.is_superuser = False
        user.save(update_fields=["is_staff", "is_superuser"])
        user.groups.clear()
        user.user_permissions.clear()


def _find(issuer: str, subject: str) -> Identity | None:
    return Identity.objects.select_related("user").filter(issuer=issuer, subject=subject).first()


def _make(person: Person, issuer: str) -> Identity:
    try:
        with transaction.atomic():
            # No password: such an account cannot log in with one.
            user = User.objects.create_user(username=person.email, email=person.email)
            return Identity.objects.create(user=user, issuer=issuer, subject=person.subject)
    except IntegrityError:
        # Two tabs at once make one account; the other finds it.
        if (found := _find(issuer, person.subject)) is not None:
            return found
        raise Refused(
            "There is another account here whose name is your e-mail address. "
            "Ask an owner of this proxy to rename or delete it; then sign in again."
        ) from None
