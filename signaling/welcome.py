"""A first pair for whoever tries telementor out: `telementor serve --welcome`, which `make run` says."""

from __future__ import annotations

from signaling.stores.directory import Directory, Named

MENTOR = Named("Mentor", "mentor@telementor.localhost")
MENTEE = Named("Mentee", "mentee@telementor.localhost")

DAY_S = 86_400


async def first_links(directory: Directory, public_url: str, link_ttl_days: int) -> list[str]:
    """What to print: a fresh link for each of the two; a link works once. Started again it is the same pair and room."""
    added = await directory.add_pair(MENTOR, MENTEE)
    lines = ["", "Open these two links in two browsers, or in two tabs of one:"]
    for role, person in (("mentor", added.mentor), ("mentee", added.mentee)):
        token = await directory.credentials.new_link(person.id, added.pair, link_ttl_days * DAY_S)
        lines.append(f"  {role}  {public_url}/enter#{token}")
    return [
        *lines,
        "Each works once. Ctrl-C stops the server; started again, it prints new links to the same room.",
    ]
