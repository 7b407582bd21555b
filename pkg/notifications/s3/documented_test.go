package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/s3"
)

// The tests in this file hold the provider to what Amazon S3 documents and no server at hand does: topics, functions,
// EventBridge, the refusal of overlapping entries, a configuration that shows a write late. documentedS3 is a local HTTP server
// that keeps one bucket's notification configuration after that documentation.

const (
	head = `<?xml version="1.0" encoding="UTF-8"?><NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`
	tail = `</NotificationConfiguration>`

	foreignTopic = `<TopicConfiguration><Id>audit</Id><Topic>arn:aws:sns:eu-central-1:1:audit</Topic>` +
		`<Event>s3:ObjectRestore:Completed</Event></TopicConfiguration>`
	foreignFunction = `<CloudFunctionConfiguration><Id>NDFh &amp; more</Id><CloudFunction>arn:aws:lambda:eu-central-1:1:function:resize</CloudFunction>` +
		`<Event>s3:ObjectCreated:Put</Event><Event>s3:ObjectCreated:Post</Event>` +
		`<Filter><S3Key><FilterRule><Name>Prefix</Name><Value>images/é +</Value></FilterRule><FilterRule><Name>Suffix</Name><Value>.png</Value></FilterRule></S3Key></Filter>` +
		`</CloudFunctionConfiguration>`
	foreignQueue = `<QueueConfiguration><Id>billing</Id><Queue>arn:aws:sqs:eu-central-1:1:billing</Queue>` +
		`<Event>s3:LifecycleTransition</Event></QueueConfiguration>`
	bridge = `<EventBridgeConfiguration></EventBridgeConfiguration>`

	ourTopic = "arn:aws:sns:eu-central-1:1:bucketmesh"
)

type documentedS3 struct {
	*httptest.Server

	mu     sync.Mutex
	config string           // the inside of the configuration
	stale  int              // so many reads after a write still show what was there before
	old    string           // what they show
	refuse string           // the message of the answer to a write; "": it is taken
	onPut  func(old string) // called after a write, with the lock held
	writes []string
	answer func(w http.ResponseWriter) bool // another answer to reads
}

func newDocumentedS3(t *testing.T, inside ...string) *documentedS3 {
	t.Helper()
	s := &documentedS3{config: strings.Join(inside, "")}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *documentedS3) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/media-eu" || !r.URL.Query().Has("notification") {
		http.Error(w, "not this request", http.StatusTeapot)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	if r.Method == http.MethodGet {
		if s.answer != nil && s.answer(w) {
			return
		}
		shown := s.config
		if s.stale > 0 {
			s.stale--
			shown = s.old
		}
		_, _ = io.WriteString(w, head+shown+tail)
		return
	}
	body, _ := io.ReadAll(r.Body)
	if s.refuse != "" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `<Error><Code>InvalidArgument</Code><Message>%s</Message></Error>`, s.refuse)
		return
	}
	s.old = s.config
	s.config = inside(string(body))
	s.writes = append(s.writes, s.config)
	if s.onPut != nil {
		s.onPut(s.old)
	}
}

func (s *documentedS3) now() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

// inside is what is between the outer tags.
func inside(doc string) string {
	m := regexp.MustCompile(`(?s)<NotificationConfiguration[^>]*?(?:/>|>(.*)</NotificationConfiguration>)`).FindStringSubmatch(doc)
	if m == nil {
		return "not a configuration: " + doc
	}
	return m[1]
}

func (s *documentedS3) open(t *testing.T, change ...func(*s3.Config)) *s3.Bucket {
	t.Helper()
	cfg := s3.Config{
		ID: ourID, AccessKeyID: "key", SecretAccessKey: "secret", VerifyEvery: time.Millisecond, VerifyTimeout: 10 * time.Second,
		Replica: config.Replica{
			Name: "eu", Provider: "s3", Bucket: "media-eu", Region: "eu-central-1", Endpoint: s.URL, PathStyle: true, Dialect: "aws",
			Notifications: config.Notifications{Target: ourTopic},
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	b, err := s3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func soon(c *s3.Config) { c.VerifyTimeout = 50 * time.Millisecond }

func bridged(c *s3.Config) { c.Replica.Notifications.Target = "eventbridge" }

func TestTrapForeignEntriesAreKeptToTheByte(t *testing.T) {
	s := newDocumentedS3(t, foreignTopic, foreignFunction, foreignQueue, bridge)
	b := s.open(t, func(c *s3.Config) { c.Replica.Prefix = "docs/" })
	check := func(when string) {
		t.Helper()
		// The SDK escapes what XML lets one escape or not.
		got := strings.NewReplacer(`&#xE9;`, "é", `&#x2B;`, "+").Replace(s.now())
		for _, want := range []string{foreignTopic, foreignFunction, foreignQueue, bridge} {
			if !strings.Contains(canonical(got), canonical(want)) {
				t.Errorf("%s: lost %s\nin %s", when, want, got)
			}
		}
	}
	apply(t, b, notifications.Install)
	check("after install")
	if e := entry(t, plan(t, b, notifications.Install), ourID); e.State != notifications.Present || e.Prefix != "docs/" {
		t.Errorf("ours: %+v", e)
	}
	apply(t, b, notifications.Install)
	if len(s.writes) != 1 {
		t.Errorf("the second install wrote, too: %d writes", len(s.writes))
	}
	apply(t, b, notifications.Remove)
	check("after remove")
	if strings.Contains(s.now(), ourID) {
		t.Errorf("ours is still there: %s", s.now())
	}
}

// canonical sorts the elements of one level: their order has no meaning in XML as S3 uses it, and the SDK has its own.
func canonical(doc string) string {
	m := regexp.MustCompile(`(?s)^<(\w+)>(.*)</\w+>$`).FindStringSubmatch(doc)
	if m == nil || !strings.HasSuffix(m[1], "Configuration") || m[1] == "EventBridgeConfiguration" {
		var parts []string
		for _, kind := range []string{"TopicConfiguration", "CloudFunctionConfiguration", "QueueConfiguration", "EventBridgeConfiguration"} {
			for _, e := range regexp.MustCompile(`(?s)<`+kind+`>.*?</`+kind+`>`).FindAllString(doc, -1) {
				parts = append(parts, "<"+kind+">"+sortedChildren(e)+"</"+kind+">")
			}
		}
		return strings.Join(parts, "")
	}
	return "<" + m[1] + ">" + sortedChildren(doc) + "</" + m[1] + ">"
}

func sortedChildren(e string) string {
	parts := regexp.MustCompile(`(?s)<(Id|Topic|Queue|CloudFunction|Event)>[^<]*</\w+>|<Filter>.*?</Filter>`).FindAllString(e, -1)
	slices.Sort(parts)
	return strings.Join(parts, "")
}

func TestEventBridge(t *testing.T) {
	s := newDocumentedS3(t, foreignTopic)
	b := s.open(t, bridged)
	apply(t, b, notifications.Install)
	if got := s.now(); !strings.Contains(got, "EventBridgeConfiguration") || !strings.Contains(got, "audit") || strings.Contains(got, ourID) {
		t.Errorf("after install: %s", got)
	}
	apply(t, b, notifications.Install)
	// A switch has no owner: it stays on, and a person is told.
	p := plan(t, b, notifications.Remove)
	if !p.Settled() || len(p.Findings) != 1 || !strings.Contains(p.Findings[0].Text, "stays on") {
		t.Errorf("remove: %+v", p)
	}
	apply(t, b, notifications.Remove)
	if len(s.writes) != 1 {
		t.Errorf("%d writes, want one", len(s.writes))
	}
}

// TestAnotherTarget: what was installed for an earlier target goes.
func TestAnotherTarget(t *testing.T) {
	s := newDocumentedS3(t, foreignTopic)
	apply(t, s.open(t), notifications.Install)
	b := s.open(t, bridged)
	if e := entry(t, plan(t, b, notifications.Install), ourID); e.State != notifications.Surplus || e.Action != notifications.RemoveEntry {
		t.Errorf("ours: %+v", e)
	}
	apply(t, b, notifications.Install)
	if got := s.now(); strings.Contains(got, ourID) || !strings.Contains(got, "EventBridge") {
		t.Errorf("after: %s", got)
	}
}

func TestTrapOverlapNamesTheForeignEntry(t *testing.T) {
	s := newDocumentedS3(t, foreignTopic, foreignFunction)
	b := s.open(t)
	p := plan(t, b, notifications.Install)
	if len(p.Findings) != 1 || p.Findings[0].About != "NDFh & more" || p.Findings[0].Level != notifications.Warning {
		t.Errorf("findings: %+v", p.Findings)
	}
	s.refuse = "Configurations overlap. Configurations on the same bucket cannot share a common event type"
	err := b.Apply(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "NDFh & more (arn:aws:lambda:eu-central-1:1:function:resize)") || strings.Contains(err.Error(), "audit") {
		t.Errorf("got %v", err)
	}
}

func TestRefusedDestinationSaysWhatItNeeds(t *testing.T) {
	s := newDocumentedS3(t)
	s.refuse = "Unable to validate the following destination configurations"
	err := s.open(t).Apply(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "sns:Publish") || !strings.Contains(err.Error(), ourTopic) {
		t.Errorf("got %v", err)
	}
}

// TestTrapConfigurationThatIsNotKnownIsLeftAlone: an element that the SDK does not know would be lost by writing the rest.
func TestTrapConfigurationThatIsNotKnownIsLeftAlone(t *testing.T) {
	for name, inside := range map[string]string{
		"another kind of entry": foreignTopic + `<StreamConfiguration><Id>x</Id></StreamConfiguration>`,
		"a filter of RGW": `<TopicConfiguration><Id>x</Id><Topic>arn:aws:sns:default::t</Topic><Event>s3:ObjectCreated:*</Event>` +
			`<Filter><S3Tags><FilterRule><Name>a</Name><Value>b</Value></FilterRule></S3Tags></Filter></TopicConfiguration>`,
	} {
		s := newDocumentedS3(t, inside)
		b := s.open(t)
		if _, err := b.Plan(t.Context(), notifications.Install); !errkind.Is(err, errkind.Unsupported) {
			t.Errorf("%s: plan: %v", name, err)
		}
		if err := b.Apply(t.Context(), notifications.Install); !errkind.Is(err, errkind.Unsupported) || len(s.writes) > 0 {
			t.Errorf("%s: apply: %v, %d writes", name, err, len(s.writes))
		}
	}
}

// TestWriteShowsLate: bucket settings are eventually consistent.
func TestWriteShowsLate(t *testing.T) {
	s := newDocumentedS3(t, foreignTopic)
	s.onPut = func(string) { s.stale = 5 }
	apply(t, s.open(t), notifications.Install)
	if s.stale != 0 {
		t.Errorf("%d reads were not made", s.stale)
	}
}

// TestTrapRaceWithAnotherWriterIsReported: somebody wrote right after us, what they had read before us.
func TestTrapRaceWithAnotherWriterIsReported(t *testing.T) {
	s := newDocumentedS3(t, foreignTopic, foreignQueue)
	s.onPut = func(string) { s.config = strings.Replace(s.config, ">billing<", ">somebody-else<", 1) }
	err := s.open(t, soon).Apply(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.Conflict) || !strings.Contains(err.Error(), "billing") || strings.Contains(err.Error(), "audit") {
		t.Errorf("a lost foreign entry: %v (%s)", err, errkind.Of(err))
	}
	s = newDocumentedS3(t, foreignTopic)
	s.onPut = func(old string) { s.config = old }
	if err = s.open(t, soon).Apply(t.Context(), notifications.Install); !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("our lost entry: %v (%s)", err, errkind.Of(err))
	}
}

// TestRGWThatKeepsWhatIsLeftOut: there, a write adds.
func TestRGWThatKeepsWhatIsLeftOut(t *testing.T) {
	s := newDocumentedS3(t, foreignTopic)
	rgw := func(c *s3.Config) {
		soon(c)
		c.Replica.Dialect, c.Replica.Notifications.Target = "rgw", "arn:aws:sns:default::bucketmesh"
	}
	b := s.open(t, rgw)
	apply(t, b, notifications.Install)
	if !strings.Contains(s.now(), "s3:ObjectLifecycle:Expiration:*") {
		t.Errorf("after install: %s", s.now())
	}
	s.onPut = func(old string) { s.config = old }
	err := b.Apply(t.Context(), notifications.Remove)
	if !errkind.Is(err, errkind.Unsupported) || !strings.Contains(err.Error(), "DELETE /media-eu?notification="+ourID) {
		t.Errorf("got %v", err)
	}
}

func TestTargetsThatCanNotWork(t *testing.T) {
	for name, c := range map[string]struct{ dialect, target, says string }{
		"function":             {"aws", "arn:aws:lambda:eu-central-1:1:function:f", "an SQS queue, an SNS topic"},
		"a URL":                {"aws", "https://example.com/s3/eu", "an SQS queue, an SNS topic"},
		"EventBridge on MinIO": {"minio", "eventbridge", "webhook of MinIO"},
		"versitygw":            {"versitygw", "arn:aws:sns:default::t", "have the server itself post"},
	} {
		_, err := s3.Open(t.Context(), s3.Config{ID: ourID, AccessKeyID: "k", SecretAccessKey: "s", Replica: config.Replica{
			Bucket: "media-eu", Region: "eu-central-1", Dialect: c.dialect, Notifications: config.Notifications{Target: c.target},
		}})
		if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "notifications.target") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServerWithoutNotifications(t *testing.T) {
	s := newDocumentedS3(t)
	s.answer = func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusNotImplemented)
		_, _ = io.WriteString(w, `<Error><Code>NotImplemented</Code><Message>no</Message></Error>`)
		return true
	}
	if _, err := s.open(t).Plan(t.Context(), notifications.Install); !errkind.Is(err, errkind.Unsupported) {
		t.Errorf("got %v (%s)", err, errkind.Of(err))
	}
}

func TestServerThatSaysNothing(t *testing.T) {
	s, done := newDocumentedS3(t), make(chan struct{})
	s.answer = func(http.ResponseWriter) bool { <-done; return true }
	t.Cleanup(func() { close(done) }) // before the server's Close, which waits for its handlers
	b := s.open(t, func(c *s3.Config) { c.RequestTimeout = 20 * time.Millisecond })
	if _, err := b.Plan(t.Context(), notifications.Install); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("got %v (%s)", err, errkind.Of(err))
	}
}
