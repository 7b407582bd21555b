package child_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// role says what the test program is when it is started once more.
const role = "BUCKETMESH_TEST_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(role) {
	case "server":
		err = child.Serve(context.Background(), os.Stdin, os.Stdout, map[string]child.Run{"talker": talker, "weak": weak})
	case "parent":
		err = parent()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// talker is a server that says goodbye at length.
func talker(ctx context.Context, spec child.Spec, ready func(string)) error {
	word, err := child.Options[string](spec)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		return err
	}
	ready("http://" + word)
	<-ctx.Done()
	for range 100 {
		fmt.Println("goodbye")
		fmt.Fprintln(os.Stderr, "goodbye")
	}
	return nil
}

// weak breaks down.
func weak(context.Context, child.Spec, func(string)) error { return errors.New("no legs to stand on") }

func self(as string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+as)
	return cmd
}

// parent starts a server, tells of it and waits to be killed.
func parent() error {
	var spec child.Spec
	if err := json.Unmarshal([]byte(os.Getenv("SPEC")), &spec); err != nil {
		return err
	}
	p, err := child.Start(context.Background(), self("server"), spec, "word")
	if err != nil {
		return err
	}
	fmt.Println(p.Endpoint())
	select {}
}

func specOf(t *testing.T, kind string) child.Spec {
	t.Helper()
	return child.Spec{Kind: kind, Name: "test", Dir: filepath.Join(t.TempDir(), "server")}
}

// What a server prints when nobody listens any more does not end it before it has cleaned up.
func TestTrapPrintingAfterTheParentsDeath(t *testing.T) {
	spec := specOf(t, "talker")
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := self("parent")
	cmd.Env = append(cmd.Env, "SPEC="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "http://word\n" {
		t.Fatalf("endpoint %q, %v", line, err)
	}
	if _, err := os.Stat(spec.Dir); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed: that is an error, and right
	deadline, again := time.NewTimer(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for {
		if _, err := os.Stat(spec.Dir); os.IsNotExist(err) {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatal("the folder is still there")
		}
	}
}

func TestStartTellsWhatWentWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		spec child.Spec
		kind errkind.Kind
		says string
	}{
		"a server that breaks down": {specOf(t, "weak"), errkind.Unavailable, "no legs to stand on"},
		"a kind that nobody knows":  {specOf(t, "strange"), errkind.Unavailable, `no server of the kind "strange"`},
		"a server without a folder": {child.Spec{Kind: "talker", Name: "test"}, errkind.Invalid, "folder"},
		"a server that has no name": {child.Spec{Kind: "talker", Dir: t.TempDir()}, errkind.Invalid, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := child.Start(t.Context(), self("server"), tc.spec, "word"); !errkind.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %v with %q", err, tc.kind, tc.says)
			}
		})
	}
}
