"""Licences as the Hub names them, and what is not known of them."""

import re

# https://huggingface.co/docs/hub/repositories-licenses
_HUB = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc
cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0
cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research
lppl-1.3c ms-pl apple-ascl mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa
unlicense zlib pddl lgpl-lr unknown
"""
_OTHER_NAMES = {
    "apache": "apache-2.0",
    "apache-2": "apache-2.0",
    "mit-license": "mit",
    "expat": "mit",
    "cc0": "cc0-1.0",
    "cc-0": "cc0-1.0",
    "bsd-3": "bsd-3-clause",
    "bsd-2": "bsd-2-clause",
    "gpl-3": "gpl-3.0",
    "gplv3": "gpl-3.0",
    "gplv2": "gpl-2.0",
    "gpl-2": "gpl-2.0",
    "agplv3": "agpl-3.0",
    "lgplv3": "lgpl-3.0",
    "odc-by-1.0": "odc-by",
    "odbl-1.0": "odbl",
    "": "unknown",
    "none": "unknown",
}


def on_hub(licence: str) -> str:
    """The Hub's identifier of a licence; `other` for one that it has no name for, `unknown` where nothing is said."""
    name = re.sub(r"[\s_]+", "-", licence.strip().lower()[:80])
    name = re.sub(r"-?licen[cs]e(d)?-?|^the-|-or-later$|-only$|,", "", name).replace("version-", "").replace("-v", "-")
    name = _OTHER_NAMES.get(name, name)
    return name if name in _HUB.split() else "other"


def is_unknown(licence: str) -> bool:
    """Whether nothing is known of it."""
    return on_hub(licence) == "unknown"
