"""What counts as standing before the code of a file."""

import pytest

from unbraid.index.files.preamble import is_preamble

LICENCE = """# Copyright 2024 The Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file
# except in compliance with the License."""


@pytest.mark.parametrize(
    "code",
    [
        "import os\nimport sys\n\nfrom pathlib import Path",
        "from a.b import (\n    c,  # said (why)\n    d,\n)\nfrom e import f, \\\n    g",
        f"#!/usr/bin/env python\n{LICENCE}\n\nimport os",
        LICENCE,
        "/*\n * SPDX-License-Identifier: MIT\n * and what follows\n */\n\npackage main",
        "try:\n    import tomllib\nexcept ImportError:\n    import tomli as tomllib\nif TYPE_CHECKING:\n    from a import B",
        'from .a import A\n\n__all__ = [\n    "A",\n]',
        'package main\n\nimport (\n\t"fmt"\n\t"os"\n)',
        "package org.a.b;\n\nimport java.util.List;\nimport static org.junit.Assert.*;",
        '#ifndef A_B_H\n#define A_B_H\n#include <vector>\n#include "a.h"',
        "#pragma once\n\nusing namespace std;\nusing A = std::vector<int>;",
        "'use strict';\nconst fs = require('fs');\nconst { a, b } = require('./a');\nimport React, { useState } from 'react';",
        "// Local imports\nimport {\n  a,\n  b,\n} from './a';\nexport * from './b';\nexport { c } from './c';",
        "use std::collections::{\n    HashMap,\n    HashSet,\n};\npub use crate::a;\nextern crate b;",
        "<?php\nnamespace App\\Models;\n\nuse App\\User;\nrequire_once 'a.php';",
        "require 'json'\nrequire_relative \"a\"",
        "using System;\nusing System.Linq;\nnamespace A.B;",
        'local json = require("json")',
    ],
)
def test_licences_and_imports_are_a_preamble(code):
    assert is_preamble(code)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "import os\n\nLIMIT = 3",
        "import os\n\n\ndef work():\n    import sys",
        '"""What the module is for."""\n\nimport os',
        "# This module reads the files of a folder and tells which of them have changed.\nimport os",
        "/* Reads the files of a folder and tells which of them have changed since then. */\n#include <a.h>",
        "// a short note",
        "const a = await import('./a')",
        "import('./a').then(run)",
        "export { a, b };\nrun()",
        "#define LIMIT 3",
        "class A(B):\n    pass",
        "x = 3  # Copyright of the value",
        "package = read()",
        "used = {}",
    ],
)
def test_code_and_what_tells_of_a_file_is_none(code):
    assert not is_preamble(code)
