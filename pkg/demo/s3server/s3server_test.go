package s3server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/demo/s3server"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	objects3 "github.com/bucketmesh/bucketmesh/pkg/object/s3"
)

// role says what the test program is when it is started once more.
const role = "BUCKETMESH_TEST_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(role) {
	case "server":
		err = child.Serve(context.Background(), os.Stdin, os.Stdout, map[string]child.Run{s3server.Kind: s3server.Run})
	case "parent":
		err = parent()
	case "mute": // a program that isn't a server
		fmt.Fprintln(os.Stderr, "no server here")
		os.Exit(7)
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

// parent starts a server, tells of it and waits to be killed.
func parent() error {
	var opts s3server.Options
	if err := json.Unmarshal([]byte(os.Getenv("OPTIONS")), &opts); err != nil {
		return err
	}
	s, err := s3server.Start(context.Background(), self("server"), opts)
	if err != nil {
		return err
	}
	fmt.Println(s.Endpoint())
	select {}
}

func options(t *testing.T, webhook string) s3server.Options {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "server")
	return s3server.Options{
		Name: "test", Dir: dir, AccessKey: "demo", SecretKey: rand.Text(), Bucket: "media", Webhook: webhook,
	}
}

func start(t *testing.T, opts s3server.Options) *s3server.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := s3server.Start(ctx, self("server"), opts)
	if err != nil {
		t.Fatalf("start server: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(s *s3server.Server) *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.Endpoint()), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

func put(t *testing.T, c *s3.Client, in *s3.PutObjectInput, body string) error {
	t.Helper()
	in.Bucket, in.Body = aws.String("media"), strings.NewReader(body)
	_, err := c.PutObject(t.Context(), in)
	return err
}

func get(t *testing.T, c *s3.Client, key string) (string, *s3.GetObjectOutput) {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("media"), Key: aws.String(key)})
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	defer func() { _ = out.Body.Close() }()
	text, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return string(text), out
}

// A server keeps what the demo relies on: conditions, metadata, multipart, notifications; and it leaves nothing behind.
func TestServer(t *testing.T) {
	t.Run("attributes where the file system keeps them best", func(t *testing.T) { testServer(t, false) })
	t.Run("attributes in files of their own", func(t *testing.T) { testServer(t, true) })
}

func testServer(t *testing.T, sidecar bool) {
	events := make(chan string, 10_000)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read notification: %v", err)
		}
		events <- string(body)
	}))
	t.Cleanup(hook.Close)
	opts := options(t, hook.URL)
	opts.Sidecar = sidecar
	s := start(t, opts)
	c := client(s)
	promises(t, s)

	err := put(t, c, &s3.PutObjectInput{
		Key: aws.String("a/b c+d.txt"), ContentType: aws.String("text/plain"), Metadata: map[string]string{"owner": "me"}, IfNoneMatch: aws.String("*"),
	}, "one")
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	text, out := get(t, c, "a/b c+d.txt")
	if text != "one" || aws.ToString(out.ContentType) != "text/plain" || out.Metadata["owner"] != "me" {
		t.Errorf("got %q, %v, %v", text, aws.ToString(out.ContentType), out.Metadata)
	}
	if err := put(t, c, &s3.PutObjectInput{Key: aws.String("a/b c+d.txt"), IfNoneMatch: aws.String("*")}, "two"); status(err) != http.StatusPreconditionFailed {
		t.Errorf("create of what is there: %v", err)
	}
	if err := put(t, c, &s3.PutObjectInput{Key: aws.String("a/b c+d.txt"), IfMatch: aws.String(`"0"`)}, "two"); status(err) != http.StatusPreconditionFailed {
		t.Errorf("conditional put: %v", err)
	}
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("media"), Key: aws.String("a/b c+d.txt"), IfMatch: aws.String(`"0"`)})
	if status(err) != http.StatusPreconditionFailed {
		t.Errorf("conditional delete: %v", err)
	}
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: aws.String("media"), Key: aws.String("a/b c+d.txt"), CopySource: aws.String("media/a/b%20c%2Bd.txt"),
		MetadataDirective: types.MetadataDirectiveReplace, ContentType: aws.String("text/markdown"), Metadata: map[string]string{"owner": "you"},
	})
	if err != nil {
		t.Fatalf("edit metadata: %v", err)
	}
	text, out = get(t, c, "a/b c+d.txt")
	if text != "one" || aws.ToString(out.ContentType) != "text/markdown" || out.Metadata["owner"] != "you" {
		t.Errorf("after the edit: %q, %v, %v", text, aws.ToString(out.ContentType), out.Metadata)
	}
	multipart(t, c)

	hear(t, events, "s3:TestEvent", "b c+d.txt", "ObjectCreated:Copy", "CompleteMultipartUpload")
	s.Close()
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("the data is still there: %v", err)
	}
	s.Close()
}

// promises lets the product's own probe, with writers at once, find out what a server's bucket keeps.
func promises(t *testing.T, s *s3server.Server) {
	t.Helper()
	b, err := objects3.Open(t.Context(), objects3.Config{
		Bucket: s.Bucket, Endpoint: s.Endpoint(), PathStyle: true, AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey,
	})
	if err != nil {
		t.Fatalf("open bucket: %v", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	for range 3 {
		report, err := object.Probe(t.Context(), b, object.ProbeOptions{})
		if err != nil {
			t.Fatalf("probe: %v", err)
		}
		if err := object.Fit(report, true, false); err != nil {
			t.Errorf("not fit for ReadWrite: %v; %v", err, report.Findings)
		}
	}
}

// hear takes notifications, which come in no order, until each of wants was in one.
func hear(t *testing.T, events chan string, wants ...string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for len(wants) > 0 {
		select {
		case e := <-events:
			wants = slices.DeleteFunc(wants, func(w string) bool { return strings.Contains(e, w) })
		case <-limit:
			t.Fatalf("no notifications with %q came", wants)
		}
	}
}

func multipart(t *testing.T, c *s3.Client) {
	t.Helper()
	bucket, key := aws.String("media"), aws.String("big")
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatalf("create upload: %v", err)
	}
	var parts []types.CompletedPart
	for n := int32(1); n <= 2; n++ {
		part := bytes.Repeat([]byte{byte(n)}, 5<<20)
		out, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(n), Body: bytes.NewReader(part)})
		if err != nil {
			t.Fatalf("upload part %d: %v", n, err)
		}
		parts = append(parts, types.CompletedPart{
			ETag: out.ETag, PartNumber: aws.Int32(n), ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
		})
	}
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		t.Fatalf("complete upload: %v", err)
	}
	if text, _ := get(t, c, "big"); len(text) != 10<<20 {
		t.Errorf("%d bytes", len(text))
	}
}

func status(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// Even a parent that is killed leaves no server and no data behind.
func TestServerDiesWithItsParent(t *testing.T) {
	opts := options(t, "")
	opts.Cleanup = filepath.Join(t.TempDir(), "root")
	if err := os.MkdirAll(filepath.Join(opts.Cleanup, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(opts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := self("parent")
	cmd.Env = append(cmd.Env, "OPTIONS="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start parent: %v", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("read the endpoint: %v", err)
	}
	endpoint := strings.TrimSpace(line)
	if err := reach(t, endpoint); err != nil {
		t.Fatalf("the server is not up: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatalf("kill parent: %v", err)
	}
	_ = cmd.Wait() // it was killed: that is an error, and right
	deadline := time.Now().Add(30 * time.Second)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for range poll.C {
		_, dir := os.Stat(opts.Dir)
		_, root := os.Stat(opts.Cleanup)
		if reach(t, endpoint) != nil && os.IsNotExist(dir) && os.IsNotExist(root) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the parent's death: reach %v, data %v, root %v", reach(t, endpoint), dir, root)
		}
	}
}

func reach(t *testing.T, endpoint string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	return err
}

func TestStartTellsWhatWentWrong(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := s3server.Start(ctx, self("mute"), options(t, ""))
	if !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), "no server here") {
		t.Errorf("a program that is no server: %v", err)
	}
	_, err = s3server.Start(ctx, self("server"), options(t, "http://127.0.0.1:1/nobody"))
	if !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), "test event") {
		t.Errorf("nobody listens at the webhook: %v", err)
	}
	if _, err = s3server.Start(ctx, self("server"), s3server.Options{Name: "x", Dir: "y", Bucket: "z"}); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("no credentials: %v", err)
	}
}
