//go:build unix

package child

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

// endGroup ends what a child that crashed has left of its group: the program that it ran.
func endGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL) // there is no such group: nothing was left
}
