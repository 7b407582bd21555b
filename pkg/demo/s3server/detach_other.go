//go:build !unix

package s3server

import "os/exec"

// detach does nothing where there are no process groups.
func detach(*exec.Cmd) {}
