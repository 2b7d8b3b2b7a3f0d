"""The default text: modules of the Python standard library, which every machine has.

The lists are fixed, so that two runs on the same Python version read the same bytes; the text
itself differs a little from version to version, which is why a run records the version and
the text's checksum. Written by hand by many people, these modules hold what makes a sequence
hard: brackets that close far from where they open, indentation, names defined pages before use.
Generated tables and modules that Python has removed since 3.11 are left out.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

__all__ = ["HELD_OUT_MODULES", "TRAINING_MODULES", "module_path"]


def _names(listing: str) -> tuple[str, ...]:
    return tuple(listing.split())


TRAINING_MODULES = _names("""
    _collections_abc _markupbase _pydecimal _pyio _strptime argparse ast asyncio.base_events
    asyncio.events asyncio.futures asyncio.locks asyncio.proactor_events asyncio.selector_events
    asyncio.sslproto asyncio.streams asyncio.unix_events asyncio.windows_events base64 bdb
    calendar cmd codecs collections compileall concurrent.futures._base
    concurrent.futures.process contextlib csv dataclasses datetime difflib dis doctest
    email._header_value_parser email._parseaddr email._policybase email.charset
    email.feedparser email.generator email.header email.headerregistry email.message enum
    fileinput ftplib functools gettext glob gzip hashlib html.parser http.client http.cookiejar
    http.cookies http.server imaplib importlib._bootstrap importlib._bootstrap_external
    importlib.metadata inspect ipaddress json json.decoder json.encoder locale logging
    logging.config logging.handlers mailbox mimetypes modulefinder multiprocessing.connection
    multiprocessing.managers multiprocessing.pool multiprocessing.shared_memory
    multiprocessing.util ntpath optparse os pathlib pdb pickle pickletools pkgutil platform
    plistlib poplib posixpath pprint profile pstats pyclbr pydoc random re re._compiler
    re._parser runpy sched selectors shelve shlex site smtplib socket socketserver ssl string
    subprocess symtable sysconfig tarfile tempfile threading timeit tokenize tomllib._parser
    trace traceback tracemalloc turtle types typing unittest.loader unittest.mock
    unittest.runner unittest.suite urllib.parse urllib.request uuid venv warnings wave weakref
    webbrowser wsgiref.handlers wsgiref.validate xml.dom.expatbuilder xml.dom.minidom
    xml.etree.ElementTree xml.sax.expatreader xml.sax.handler xmlrpc.client xmlrpc.server
    zipfile zipimport zoneinfo._zoneinfo
""")
"""Modules to learn from, in the order in which they are read."""

HELD_OUT_MODULES = _names("""
    asyncio.tasks configparser copy fractions heapq queue shutil statistics textwrap unittest.case
""")
"""Modules kept back for validation: whole ones, so that nothing of them has been seen."""


def module_path(module: str) -> Path | None:
    """Return where the source of a standard-library module lies, None where it is missing."""
    base = Path(sysconfig.get_path("stdlib"), *module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
