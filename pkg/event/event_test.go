package event_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
)

var (
	at   = time.Date(2026, 11, 20, 17, 7, 3, 46_000_001, time.UTC)
	meta = event.Meta{ID: "1", Type: event.ObjectWritten, Source: "https://s3.example/b", Time: at}
)

// trapKeys are the keys of the trap list.
var trapKeys = []string{
	"a b", "a+b", "a%2Bb", "100%25", "é", "日本", "new\nline", " leading", "trailing ", "x//y", "//", strings.Repeat("k", 1024),
	strings.Repeat("日", 341), "dir/", ".", "..", "a\x00b", "\xff\xfe", "q?x=1&y#z", `back\slash"quote`, "\r\ninjected: header",
}

func TestTrapKeysRoundTripThroughSubjectAndCodec(t *testing.T) {
	seen := map[string]string{}
	for _, key := range trapKeys {
		var o event.Object
		o.Provider, o.Bucket, o.Operation = "s3", "b", "Put"
		o.SetKey(key)
		e, err := event.NewObject(meta, o)
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		for i := range len(e.Subject()) {
			if c := e.Subject()[i]; c <= ' ' || c > '~' {
				t.Errorf("%q: subject %q is not printable ASCII", key, e.Subject())
			}
		}
		if other, dup := seen[e.Subject()]; dup {
			t.Errorf("%q and %q have one subject", key, other)
		}
		seen[e.Subject()] = key
		if back, err := event.DecodeSubject(e.Subject()); err != nil || back != key {
			t.Errorf("%q: subject decodes to %q, %v", key, back, err)
		}
		b, err := event.Encode(e)
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		d, err := event.Decode(b)
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		got, err := event.ObjectOf(d)
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if raw, err := got.RawKey(); err != nil || raw != key {
			t.Errorf("%q: comes back as %q, %v", key, raw, err)
		}
		validate(t, d)
	}
}

func TestTrapKeysThatDifferByATrailingSpaceStayTwo(t *testing.T) {
	if event.EncodeSubject("a") == event.EncodeSubject("a ") || event.PartitionKey("s", "a") == event.PartitionKey("s", "a ") {
		t.Error("they became one")
	}
}

func TestSubjectKeepsSlashesAndSuffixes(t *testing.T) {
	if got := event.EncodeSubject("bilder/mein Sommer (1).jpg"); got != "bilder/mein%20Sommer%20%281%29.jpg" {
		t.Error(got)
	}
}

func TestDecodeSubjectRefusesWhatEncodeDoesNotProduce(t *testing.T) {
	for _, s := range []string{"a b", "a+b", "%", "%2", "%zz", "%2f", "%41", "é", "a\n"} {
		if got, err := event.DecodeSubject(s); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestObjectIDDependsOnEveryField(t *testing.T) {
	base := event.Identity{Provider: "s3", Store: "https://x/b", Bucket: "b", Key: "k", Kind: "t", Name: "n", Version: "v",
		Metageneration: "m", Sequence: "q", RequestID: "r", EventTime: "e"}
	ids := []string{event.ObjectID(base)}
	if len(ids[0]) != 64 || strings.ToLower(ids[0]) != ids[0] || event.ObjectID(base) != ids[0] {
		t.Fatalf("id %q", ids[0])
	}
	for _, change := range []func(*event.Identity){
		func(i *event.Identity) { i.Provider += "x" }, func(i *event.Identity) { i.Store += "x" },
		func(i *event.Identity) { i.Bucket += "x" }, func(i *event.Identity) { i.Key += "x" },
		func(i *event.Identity) { i.Kind += "x" }, func(i *event.Identity) { i.Name += "x" },
		func(i *event.Identity) { i.Version += "x" }, func(i *event.Identity) { i.Metageneration += "x" },
		func(i *event.Identity) { i.Sequence += "x" }, func(i *event.Identity) { i.RequestID += "x" },
		func(i *event.Identity) { i.EventTime += "x" }, func(i *event.Identity) { i.EventID += "x" },
		func(i *event.Identity) { i.Bucket, i.Key = "bk", "" }, // fields must not run together
	} {
		i := base
		change(&i)
		if id := event.ObjectID(i); slices.Contains(ids, id) {
			t.Errorf("%+v has the id of another", i)
		} else {
			ids = append(ids, id)
		}
	}
}

// The ids are stored by consumers: a change of how they are made would make every redelivery look new.
func TestIDsAreStableAcrossReleases(t *testing.T) {
	if got := event.PartitionKey("https://s3.example/b", "k"); got != "f6fdde58a9ad9bddd642b2af17fc724c406aee38c508ec8a9f801ef663795e15" {
		t.Error(got)
	}
	if got := event.ObjectID(event.Identity{Provider: "s3", Key: "k"}); got != "3fe3b85a2cf10dec306ea16ca234fe640493d92c7f6f22232a79bad03a596460" {
		t.Error(got)
	}
}

func TestTrapSequencesOf16And18Characters(t *testing.T) {
	classic, bridge := event.HexSequence("0055AED6DCD90281E5"), event.HexSequence("55AED6DCD90281E6")
	if len(classic) != 48 || len(bridge) != 48 || classic >= bridge {
		t.Errorf("%s is not before %s", classic, bridge)
	}
}

func TestTrapSequencesOfAzureInTwoLengthsAndMixedCase(t *testing.T) {
	short := event.HexSequence("00000000000000EB0000000000046199")
	long := event.HexSequence("0000000000000000" + "00000000000000eb000000000004619A")
	if short >= long || event.HexSequence("AB") != event.HexSequence("ab") {
		t.Errorf("%s is not before %s", short, long)
	}
}

func TestTrapSequencePairsOfRGWAreLittleEndian(t *testing.T) {
	// 2 s 1 ns, and 256 s 0 ns: as strings in the wrong order.
	earlier, later := "0200000001000000", "0001000000000000"
	if earlier < later {
		t.Fatal("the strings lie no more")
	}
	if a, b := event.PairSequence(earlier), event.PairSequence(later); a >= b || len(a) != 48 {
		t.Errorf("%s is not before %s", a, b)
	}
	if a, b := event.PairSequence("F7E6D75DFF000000"), event.PairSequence("F7E6D75D00010000"); a >= b {
		t.Errorf("nanoseconds: %s is not before %s", a, b)
	}
}

func TestSequencesThatAreNoneAreAbsent(t *testing.T) {
	for _, s := range []string{"", "xyz", "0x12", "-1", "12 ", strings.Repeat("0", 49)} {
		if got := event.HexSequence(s); got != "" {
			t.Errorf("HexSequence(%q) = %q", s, got)
		}
	}
	for _, s := range []string{"", "12", "F7E6D75DC742D10", "F7E6D75DC742D1080", "F7E6D75DC742D1zz", "F7E6D75DC742D10800"} {
		if got := event.PairSequence(s); got != "" {
			t.Errorf("PairSequence(%q) = %q", s, got)
		}
	}
}

func TestNewSetsTheAttributesOfTheVocabulary(t *testing.T) {
	m := meta
	m.Recorded = at.Add(time.Second)
	m.Extensions = map[string]string{event.ExtProvider: "s3", event.ExtVersion: "with\nnewline", event.ExtSequence: ""}
	e, err := event.NewObject(m, event.Object{Bucket: "b", Key: "a b", Operation: "Put"})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Time().Equal(at) || e.DataSchema() != event.SchemaURI(event.ObjectWritten) || e.DataContentType() != "application/json" {
		t.Errorf("%v", e)
	}
	x := e.Extensions()
	want := map[string]any{event.ExtProvider: "s3", event.ExtPartitionKey: event.PartitionKey(m.Source, "a b"),
		event.ExtRecordedTime: "2026-11-20T17:07:04.046000001Z"}
	if fmt.Sprint(x) != fmt.Sprint(want) {
		t.Errorf("extensions %v, want %v", x, want)
	}
}

func TestTypesWithoutASchemaNameNone(t *testing.T) {
	m := meta
	m.Type = event.ScanRange
	e, err := event.New(m, map[string]string{"group": "g"})
	if err != nil || e.DataSchema() != "" {
		t.Error(e, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*event.Meta){
		"a relative source":      func(m *event.Meta) { m.Source = "/b" },
		"a source with newline":  func(m *event.Meta) { m.Source = "https://x/\nb" },
		"no source":              func(m *event.Meta) { m.Source = "" },
		"no id":                  func(m *event.Meta) { m.ID = "" },
		"an id with a newline":   func(m *event.Meta) { m.ID = "a\nb" },
		"a type of nobody":       func(m *event.Meta) { m.Type = "com.example.thing" },
		"a bad extension's name": func(m *event.Meta) { m.Extensions = map[string]string{"Not-Allowed": "x"} },
	} {
		m := meta
		change(&m)
		if _, err := event.New(m, event.Object{}); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTrapEventOver64KiBHasItsNativeRecordCut(t *testing.T) {
	for name, native := range map[string]string{
		"plain":     `{"userMetadata":"` + strings.Repeat("x", 70_000) + `"}`,
		"quotes":    `["` + strings.Repeat(`\"`, 60_000) + `"]`,
		"wide":      `["` + strings.Repeat("日", 40_000) + `"]`,
		"controls":  `["` + strings.Repeat(`\u0001`, 20_000) + `"]`,
		"no JSON":   strings.Repeat("\x01\xff", 60_000),
		"all quote": `"` + strings.Repeat(`\"`, 100_000) + `"`,
	} {
		e, err := event.NewObject(meta, event.Object{Bucket: "b", Key: "k", Operation: "Put", Native: json.RawMessage(native)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := event.Encode(e)
		if err != nil || len(b) >= event.MaxSize || len(b) < 10_000 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
		o, err := event.ObjectOf(e)
		if err != nil || !strings.Contains(o.NativeNote, "cut: the record has ") {
			t.Errorf("%s: note %q, %v", name, o.NativeNote, err)
		}
		var text string
		if err := json.Unmarshal(o.Native, &text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		validate(t, e)
	}
}

func TestEventThatIsTooLargeWithoutItsNativeRecordIsRefused(t *testing.T) {
	o := event.Object{Bucket: "b", Key: "k", ContentType: strings.Repeat("x", event.MaxSize), Native: json.RawMessage(`{}`)}
	if _, err := event.NewObject(meta, o); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
	if _, err := event.New(meta, o); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
}

func TestNativeIsKeptByteByByteWhereItFits(t *testing.T) {
	native := `{"a":"<&>","n":9007199254740993,"z":1.50}`
	e, err := event.NewObject(meta, event.Object{Bucket: "b", Key: "k", Native: json.RawMessage(native)})
	if err != nil {
		t.Fatal(err)
	}
	if o, err := event.ObjectOf(e); err != nil || string(o.Native) != native || o.NativeNote != "" {
		t.Errorf("%s %q %v", o.Native, o.NativeNote, err)
	}
}

func TestTrapNumbersAbove2To53StayExact(t *testing.T) {
	size := "9007199254740993"
	e, err := event.NewObject(meta, event.Object{Bucket: "b", Key: "k", Size: &size, Generation: "1700000000000000123"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := event.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	d, err := event.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := event.ObjectOf(d); err != nil || *o.Size != size || o.Generation != "1700000000000000123" {
		t.Errorf("%+v %v", o, err)
	}
}

func TestDecodeRefusesWhatIsNoEvent(t *testing.T) {
	for _, s := range []string{"", "{}", "[]", "null", `{"specversion":"1.0","type":"t","source":"/","id":""}`, `{"specversion":"9"}`} {
		if e, err := event.Decode([]byte(s)); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%q: %v %v", s, e, err)
		}
	}
	if _, err := event.Encode(cloudevents.New()); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
}

func TestAccessorsRefuseOtherTypesAndBrokenData(t *testing.T) {
	sync, err := event.NewSync(event.SyncApplied, "", event.Sync{Group: "g", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	object, err := event.NewObject(meta, event.Object{Bucket: "b", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	_, e1 := event.ObjectOf(sync)
	_, e2 := event.SyncOf(object)
	_, e3 := event.ConflictOf(sync)
	_, e4 := event.ScanOf(sync)
	broken := object.Clone()
	broken.DataEncoded = []byte(`{"bucket":1}`)
	_, e5 := event.ObjectOf(broken)
	broken.DataEncoded = []byte(`{"bucket":"b"}`)
	_, e6 := event.ObjectOf(broken)
	text := object.Clone()
	text.SetDataContentType("text/plain")
	_, e7 := event.ObjectOf(text)
	for i, err := range []error{e1, e2, e3, e4, e5, e6, e7} {
		if !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%d: %v", i+1, err)
		}
	}
}

func TestOwnEventsOfARetryHaveTheSameID(t *testing.T) {
	s := event.Sync{Group: "g", Key: "k", Version: "a@1", Kind: "put", Origin: "a", Replicas: []string{"c", "b"}, Applied: at}
	id := func(typ string, s event.Sync) string {
		t.Helper()
		e, err := event.NewSync(typ, "", s)
		if err != nil {
			t.Fatal(err)
		}
		if e.Source() != "https://bucketmesh.dev/groups/g" || e.Extensions()[event.ExtGroup] != "g" || e.Subject() != "k" {
			t.Errorf("%v", e)
		}
		if got, err := event.SyncOf(e); err != nil || got.Version != s.Version || !got.Applied.Equal(s.Applied) {
			t.Errorf("%+v %v", got, err)
		}
		return e.ID()
	}
	first := id(event.SyncApplied, s)
	again := s
	again.Replicas, again.Applied = []string{"b", "c"}, at.Add(time.Hour)
	if id(event.SyncApplied, again) != first {
		t.Error("a retry has another id")
	}
	for name, change := range map[string]func(*event.Sync){
		"key":      func(s *event.Sync) { s.Key = "l" },
		"version":  func(s *event.Sync) { s.Version = "a@2" },
		"replicas": func(s *event.Sync) { s.Replicas = []string{"b"} },
		"attempt":  func(s *event.Sync) { s.Attempts = 1 },
		"written":  func(s *event.Sync) { s.Written = at }, // the same version id, after the row was forgotten
	} {
		other := s
		other.Replicas = slices.Clone(s.Replicas)
		if change(&other); func() bool { e, _ := event.NewSync(event.SyncApplied, "", other); return e.ID() == first }() {
			t.Errorf("another %s, the same id", name)
		}
	}
	if id(event.SyncFailed, s) == first {
		t.Error("another type, the same id")
	}

	c := event.Conflict{Group: "g", Key: "k", ID: "1", Heads: []string{"b@1", "a@1"}}
	a, err1 := event.NewConflict(event.ConflictDetected, "https://x/y", c, at)
	c.Heads = []string{"a@1", "b@1"}
	b, err2 := event.NewConflict(event.ConflictDetected, "https://x/y", c, at.Add(time.Hour))
	r, err3 := event.NewConflict(event.ConflictResolved, "https://x/y", c, at)
	if err1 != nil || err2 != nil || err3 != nil || a.ID() != b.ID() || a.ID() == r.ID() || a.Source() != "https://x/y" {
		t.Error(err1, err2, err3, a.ID(), b.ID(), r.ID())
	}
	c.Again = at
	asked, err := event.NewConflict(event.ConflictDetected, "https://x/y", c, at)
	if err != nil || asked.ID() == b.ID() || string(asked.Data()) != string(b.Data()) {
		t.Error("announced once more on purpose, but not as another event:", err, asked.ID())
	}
	if got, err := event.ConflictOf(a); err != nil || got.ID != "1" {
		t.Error(got, err)
	}
	scan, err := event.NewScan("", event.Scan{Group: "g", What: "due"}, at)
	if err != nil || scan.Subject() != "" {
		t.Error(scan, err)
	}
	if got, err := event.ScanOf(scan); err != nil || got.What != "due" {
		t.Error(got, err)
	}
}

func TestOwnEventsRefuse(t *testing.T) {
	_, e1 := event.NewSync(event.ConflictDetected, "", event.Sync{Group: "g", Key: "k"})
	_, e2 := event.NewConflict(event.SyncApplied, "", event.Conflict{Group: "g", Key: "k"}, at)
	_, e3 := event.NewScan("", event.Scan{}, at)
	for i, err := range []error{e1, e2, e3} {
		if !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%d: %v", i+1, err)
		}
	}
}

// A sender may tell any time. One that has no text would make an event that no broker takes, and so one that comes back for ever.
func TestTimesThatHaveNoTextAreLeftOut(t *testing.T) {
	m := meta
	m.Time = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600))
	e, err := event.New(m, event.Object{Bucket: "b", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := event.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := event.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if !back.Time().IsZero() {
		t.Errorf("time %v", back.Time())
	}
}

// Whoever posts events must not make time series by types that look like ours.
func TestKnownTypes(t *testing.T) {
	for typ, want := range map[string]bool{event.ObjectWritten: true, event.ScanRange: true, event.Ping: true, event.Prefix + "x1": false, "": false} {
		if event.Known(typ) != want {
			t.Errorf("%q: %v", typ, !want)
		}
	}
}
