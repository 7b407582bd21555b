package azurite_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/bucketmesh/bucketmesh/pkg/demo/azurite"
	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/azblob"
)

// role says what the test program is when it is started once more.
const role = "BUCKETMESH_TEST_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(role) {
	case "server":
		err = child.Serve(context.Background(), os.Stdin, os.Stdout, map[string]child.Run{azurite.Kind: azurite.Run})
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

func self(as string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+as)
	return cmd
}

// settings are all that a server is started with.
type settings struct {
	At      child.Spec
	Options azurite.Options
}

// parent starts a server, tells of it and waits to be killed.
func parent() error {
	var s settings
	if err := json.Unmarshal([]byte(os.Getenv("SETTINGS")), &s); err != nil {
		return err
	}
	p, err := azurite.Start(context.Background(), self("server"), s.At, s.Options)
	if err != nil {
		return err
	}
	fmt.Println(p.Endpoint())
	select {}
}

func settingsOf(t *testing.T, webhook string) settings {
	t.Helper()
	program, err := azurite.Find(func(name string) (string, bool) {
		path := os.Getenv(name)
		if path == "" {
			t.Fatalf("%s is not set: run hack/test.sh", name)
		}
		return path, true
	})
	if err != nil {
		t.Fatal(err)
	}
	return settings{child.Spec{Name: "asia", Dir: filepath.Join(t.TempDir(), "server")}, azurite.Options{
		Program: program, Account: "demoaccount", Key: base64.StdEncoding.EncodeToString([]byte("a key of ours")), Container: "media", Webhook: webhook,
	}}
}

func start(t *testing.T, s settings) *azurite.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := azurite.Start(ctx, self("server"), s.At, s.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// left waits until nothing of a server is left: no process that works in its folder.
func left(t *testing.T, dir string) {
	t.Helper()
	deadline, again := time.NewTimer(30*time.Second), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for {
		out, err := exec.CommandContext(t.Context(), "ps", "-A", "-ww", "-o", "args=").Output()
		if err != nil {
			t.Fatalf("list processes: %v", err)
		}
		if !strings.Contains(string(out), dir) {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("a process still works in %s", dir)
		}
	}
}

// A server keeps what the demo relies on: conditions, notifications; and it leaves nothing behind.
func TestServer(t *testing.T) {
	events := make(chan string, 10_000)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Query().Get("token") != "secret" {
			t.Errorf("event: %v, %s", err, r.URL)
		}
		events <- string(body)
	}))
	t.Cleanup(web.Close)
	set := settingsOf(t, web.URL+"?token=secret")
	s := start(t, set)
	key, err := blob.NewSharedKeyCredential(s.Account, s.Key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := blockblob.NewClientWithSharedKeyCredential(s.Endpoint()+"/"+s.Account+"/"+s.Container+"/hello.txt", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Upload(t.Context(), streaming.NopCloser(strings.NewReader("hello")), nil); err != nil {
		t.Fatal(err)
	}
	hear(t, events, "Microsoft.Storage.BlobCreated", "/blobServices/default/containers/media/blobs/hello.txt")
	if _, err := b.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	hear(t, events, "Microsoft.Storage.BlobDeleted", "/blobServices/default/containers/media/blobs/hello.txt")
	promises(t, s)
	s.Close()
	if _, err := os.Stat(set.At.Dir); !os.IsNotExist(err) {
		t.Errorf("the data are still there: %v", err)
	}
	left(t, set.At.Dir)
}

// hear takes events until one has all the texts.
func hear(t *testing.T, events chan string, texts ...string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case e := <-events:
			has := true
			for _, text := range texts {
				has = has && strings.Contains(e, text)
			}
			if has {
				return
			}
		case <-limit:
			t.Fatalf("no event with %q came", texts)
		}
	}
}

// promises lets the product's own probe, with writers at once, find out what the container keeps.
func promises(t *testing.T, s *azurite.Server) {
	t.Helper()
	b, err := azblob.Open(t.Context(), azblob.Config{Account: s.Account, Container: s.Container, Endpoint: s.Endpoint(), AccountKey: s.Key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	report, err := object.Probe(t.Context(), b, object.ProbeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := object.Fit(report, true, false); err != nil {
		t.Errorf("not fit for ReadWrite: %v; %v", err, report.Findings)
	}
}

// Azurite ends even if the process between it and us crashes.
func TestAzuriteDiesWithItsServer(t *testing.T) {
	set := settingsOf(t, "http://127.0.0.1:1/nobody")
	s := start(t, set)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.Gone()
	left(t, set.At.Dir)
}

// Even a parent that is killed leaves no server and no data behind.
func TestServerDiesWithItsParent(t *testing.T) {
	set := settingsOf(t, "http://127.0.0.1:1/nobody")
	set.At.Cleanup = filepath.Join(t.TempDir(), "root")
	if err := os.MkdirAll(filepath.Join(set.At.Cleanup, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	cmd := self("parent")
	cmd.Env = append(cmd.Env, "SETTINGS="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("read the endpoint: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed: that is an error, and right
	left(t, set.At.Dir)
	deadline, again := time.NewTimer(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for {
		_, dir := os.Stat(set.At.Dir)
		_, root := os.Stat(set.At.Cleanup)
		if os.IsNotExist(dir) && os.IsNotExist(root) {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("after the parent's death: data %v, root %v", dir, root)
		}
	}
}

func TestStartTellsWhatWentWrong(t *testing.T) {
	set := settingsOf(t, "http://127.0.0.1:1/nobody")
	set.Options.Program = filepath.Join(t.TempDir(), "azurite")
	if err := os.WriteFile(set.Options.Program, []byte("#!/bin/sh\necho no such module >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := azurite.Start(t.Context(), self("server"), set.At, set.Options)
	if !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), "no such module") {
		t.Errorf("a program that is not Azurite: %v", err)
	}
	if _, err := os.Stat(set.At.Dir); !os.IsNotExist(err) {
		t.Errorf("its folder is still there: %v", err)
	}
	set.Options.Key = ""
	if _, err = azurite.Start(t.Context(), self("server"), set.At, set.Options); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("no key: %v", err)
	}
	wrong := func(string) (string, bool) { return filepath.Join(t.TempDir(), "nothing"), true }
	if _, err := azurite.Find(wrong); !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), azurite.Variable) {
		t.Errorf("a path that leads nowhere: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := azurite.Find(func(string) (string, bool) { return "", false }); !errkind.Is(err, errkind.NotFound) || !strings.Contains(err.Error(), azurite.Variable) {
		t.Errorf("no Azurite: %v", err)
	}
}
