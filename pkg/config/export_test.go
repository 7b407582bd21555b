package config

import "flag"

// Update is the flag of golden files.
var Update = flag.Bool("update", false, "write golden files, the JSON Schema and the reference in docs/configuration.md anew")
