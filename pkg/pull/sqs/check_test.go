package sqs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
	"github.com/bucketmesh/bucketmesh/pkg/pull/sqs"
)

func TestTrapAQueueOfSmallMessagesIsRefused(t *testing.T) {
	c := client(server(t).Host)
	for size, kind := range map[string]errkind.Kind{"1024": errkind.Invalid, "65535": errkind.Invalid, "65536": errkind.Unknown, "1048576": errkind.Unknown} {
		err := sqs.CheckQueue(t.Context(), c, newQueue(t, c, map[string]string{"MaximumMessageSize": size}))
		if errkind.Of(err) != kind || err != nil && !strings.Contains(err.Error(), "MaximumMessageSize") {
			t.Errorf("%s bytes: %v", size, err)
		}
	}
	if err := sqs.CheckQueue(t.Context(), c, "http://"+server(t).Host+"/000000000000/missing"); !errkind.Is(err, errkind.NotFound) {
		t.Error(err)
	}
}

func TestTrapAQueueThatS3CanNotEncryptForIsRefused(t *testing.T) {
	c := client(server(t).Host)
	err := sqs.CheckQueue(t.Context(), c, newQueue(t, c, map[string]string{"KmsMasterKeyId": "alias/aws/sqs"}))
	if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "alias/aws/sqs") {
		t.Error(err)
	}
}

func TestEndpointAndRegionComeFromTheURL(t *testing.T) {
	for _, test := range []struct{ url, region, wantEndpoint, wantRegion string }{
		{"https://sqs.eu-west-1.amazonaws.com/1/q", "us-east-1", "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"},
		{"https://sqs.cn-north-1.amazonaws.com.cn/1/q", "", "https://sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"https://sqs-fips.us-east-1.amazonaws.com/1/q", "", "https://sqs-fips.us-east-1.amazonaws.com", "us-east-1"},
		{"https://eu-west-1.queue.amazonaws.com/1/q", "", "https://eu-west-1.queue.amazonaws.com", "eu-west-1"},
		{"https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com/1/q", "", "https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"},
		{"http://127.0.0.1:9324/000000000000/q", "eu-central-1", "http://127.0.0.1:9324", "eu-central-1"},
	} {
		endpoint, region, err := sqs.Endpoint(test.url, test.region)
		if err != nil || endpoint != test.wantEndpoint || region != test.wantRegion {
			t.Errorf("%s: %s %s %v", test.url, endpoint, region, err)
		}
	}
	for _, bad := range []string{"", "q", "arn:aws:sqs:eu-west-1:1:q", "https://sqs.eu-west-1.amazonaws.com/", "https://u:secret@h/1/q", "http://127.0.0.1:1/1/q"} {
		if _, _, err := sqs.Endpoint(bad, ""); !errkind.Is(err, errkind.Invalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// documentedSQS answers as SQS's reference documents it, with what no server at hand can be brought to: entries of a batch
// that fail while others don't, and credentials that are not right.
type documentedSQS struct {
	mu      sync.Mutex
	deletes []int           // entries of each batch
	fails   map[string]bool // receipts that can't be deleted now
	refuse  string          // code of the answer to everything
	status  int             // of it
	gate    chan struct{}   // deletes wait for it
	waiting chan struct{}   // told when one does
}

func (s *documentedSQS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if s.refuse != "" {
		w.WriteHeader(s.status)
		fmt.Fprintf(w, `{"__type":"com.amazon.coral.service#%s","message":"no"}`, s.refuse)
		return
	}
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DeleteMessageBatch") {
		fmt.Fprint(w, `{}`)
		return
	}
	var in struct {
		Entries []struct{ ID, ReceiptHandle string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.waiting <- struct{}{}
	<-s.gate
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletes = append(s.deletes, len(in.Entries))
	out := map[string][]map[string]any{"Successful": {}, "Failed": {}}
	for _, e := range in.Entries {
		switch {
		case e.ReceiptHandle == "unanswered":
		case s.fails[e.ReceiptHandle]:
			out["Failed"] = append(out["Failed"], map[string]any{"Id": e.ID, "Code": "InternalError", "SenderFault": false})
		case e.ReceiptHandle == "stale":
			out["Failed"] = append(out["Failed"], map[string]any{"Id": e.ID, "Code": "ReceiptHandleIsInvalid", "SenderFault": true})
		default:
			out["Successful"] = append(out["Successful"], map[string]any{"Id": e.ID})
		}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func documented(t *testing.T, s *documentedSQS) *sqs.Source {
	t.Helper()
	s.gate, s.waiting = make(chan struct{}), make(chan struct{}, 100)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	l, err := queue.Limits{}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	src, err := sqs.New(t.Context(), sqs.Config{URL: h.URL + "/1/q", Region: "eu-central-1", AccessKeyID: "id", SecretAccessKey: "secret", Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestTrapOfABatchOfDeletesSomeFail(t *testing.T) {
	s := &documentedSQS{fails: map[string]bool{"r3": true}}
	src := documented(t, s)
	receipts := []string{"r0", "r1", "r2", "r3", "stale", "unanswered", "r6", "r7"}
	answers := make([]error, len(receipts))
	var wg sync.WaitGroup
	for i, r := range receipts {
		wg.Go(func() { answers[i] = src.Ack(t.Context(), queue.Delivery{Receipt: r}) })
		if i == 0 {
			<-s.waiting // the others come while the first is under way
		}
	}
	close(s.gate)
	wg.Wait()
	for i, r := range receipts {
		want := map[string]errkind.Kind{"r3": errkind.Unavailable, "stale": errkind.Conflict, "unanswered": errkind.Unavailable}[r]
		if errkind.Of(answers[i]) != want || (want == errkind.Unknown) != (answers[i] == nil) {
			t.Errorf("%s: %v", r, answers[i])
		}
	}
	if s.deletes[0] != 1 || len(s.deletes) > len(receipts) || slices.Max(s.deletes) > 10 {
		t.Errorf("batches: %v", s.deletes)
	}
}

func TestWrongCredentialsAreToldWithTheMend(t *testing.T) {
	for _, code := range []string{"InvalidClientTokenId", "SignatureDoesNotMatch", "AccessDenied", "UnrecognizedClientException"} {
		src := documented(t, &documentedSQS{refuse: code, status: http.StatusForbidden})
		err := src.Check(t.Context())
		if !errkind.Is(err, errkind.PermissionDenied) || !strings.Contains(err.Error(), "check the credentials") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", code, err)
		}
	}
	begin := time.Now()
	src := documented(t, &documentedSQS{refuse: "ServiceUnavailable", status: http.StatusServiceUnavailable})
	if err := src.Check(t.Context()); !errkind.Is(err, errkind.Unavailable) || time.Since(begin) > 30*time.Second {
		t.Error(err)
	}
}
