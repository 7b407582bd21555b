//go:build unix

package s3server

import (
	"os/exec"
	"syscall"
)

// detach puts a child into a process group of its own: Ctrl-C at the terminal is for the parent, which still needs its
// servers while it says goodbye.
func detach(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}
