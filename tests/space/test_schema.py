"""The JSON Schema for editors is up to date and describes the bundled files."""

import json

from nasdet.space import bundled_spaces, json_schema
from nasdet.space.schema import SpaceFile
from nasdet.space.yaml_document import read_document

RENEW = """renew it: python -c "import json; from nasdet.space import json_schema; print(json.dumps(json_schema(), \
indent=1))" > search_spaces/schema.json"""


def test_schema_file_is_up_to_date():
    path = next(iter(bundled_spaces().values())).with_name("schema.json")
    assert json.loads(path.read_text()) == json_schema(), RENEW


def test_schema_names_every_key_and_documents_them():
    schema = json_schema()
    assert set(schema["properties"]) == {"extends", *SpaceFile.model_fields}
    for part in ("Budget", "Resources", "LatencyConfig", "SchedulerConfig"):
        assert all("description" in p for p in schema["$defs"][part]["properties"].values()), part


def test_bundled_files_use_only_keys_of_the_schema():
    known = set(json_schema()["properties"])
    for path in bundled_spaces().values():
        assert set(read_document(path).data) <= known
