package pulltest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

// childVariable tells a test that it is the process that dies.
const childVariable = "BUCKETMESH_PULLTEST_CHILD"

const received = "received a message"

type child struct {
	Replica config.Replica
	Env     map[string]string
}

// runChild receives a message and never finishes with it.
func runChild(t *testing.T) bool {
	text := os.Getenv(childVariable)
	if text == "" {
		return false
	}
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	s := newTaker()
	s.publish = func(context.Context, string) error {
		fmt.Println(received)
		<-t.Context().Done() // never: the process is killed
		return nil
	}
	start(t, c.Replica, c.Env, s, limits())
	<-t.Context().Done()
	return true
}

// dies: the message of a process that was killed while it handled it comes to the next one, with the same id.
func dies(t *testing.T, q Target) {
	text, err := json.Marshal(child{q.Replica, q.Env})
	if err != nil {
		t.Fatal(err)
	}
	top, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+top+"$", "-test.timeout", "2m")
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	q.Send(t, q.Written("k"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != received {
		t.Log(lines.Text())
	}
	if lines.Text() != received {
		t.Fatal("the process ended before it received")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if q.Empty(t) {
		t.Fatal("the message is gone with the process")
	}
	s := newTaker()
	start(t, q.Replica, q.Env, s, limits())
	Eventually(t, "the message comes again", func() bool { return len(s.taken("k")) > 0 })
	q.empty(t)
}
