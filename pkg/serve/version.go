package serve

import "runtime/debug"

// BuildVersion is the version of the module that the running program was built from, as the go command recorded it.
func BuildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
