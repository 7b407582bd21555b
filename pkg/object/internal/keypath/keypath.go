// Package keypath knows which keys are no paths of files. Servers that keep objects as files store them under another name, or
// refuse them.
//
// There are no errors, and no state.
package keypath

import "strings"

// Unclean tells whether a key has an empty, "." or ".." segment. An empty one at the end ("dir/") is fine.
func Unclean(key string) bool {
	for segment := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
