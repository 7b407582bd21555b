//go:build !unix

package child

import "os/exec"

// detach does nothing where there are no process groups.
func detach(*exec.Cmd) {}

// endGroup does nothing where there are no process groups.
func endGroup(int) {}
