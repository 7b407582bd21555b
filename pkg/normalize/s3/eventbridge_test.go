package s3_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// bridge is an event after EventBridge's documentation, with further fields of the object and of the detail.
func bridge(detailType, reason, key, object string, detail ...string) []byte {
	k, err := json.Marshal(key)
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, `{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103","detail-type":%q,"source":"aws.s3",`+
		`"account":"111122223333","time":"2026-11-20T17:07:03Z","region":"ca-central-1","resources":["arn:aws:s3:::b"],`+
		`"detail":{"version":"0","bucket":{"name":"b"},"object":{"key":%s%s},"request-id":"N4N7GDK58NMKJ12R","reason":%q%s}}`,
		detailType, k, object, reason, strings.Join(detail, ""))
}

func TestEventBridgeClassification(t *testing.T) {
	type want struct {
		typ, name, change, class string
		marker, lifecycle        bool
	}
	for _, c := range []struct {
		body []byte
		want want
	}{
		{bridge("Object Created", "PutObject", "k", ""), want{typ: event.ObjectWritten, name: "ObjectCreated:Put"}},
		{bridge("Object Created", "CopyObject", "k", ""), want{typ: event.ObjectWritten, name: "ObjectCreated:Copy"}},
		{bridge("Object Created", "POST Object", "k", ""), want{typ: event.ObjectWritten, name: "ObjectCreated:Post"}},
		{bridge("Object Created", "CompleteMultipartUpload", "k", ""), want{typ: event.ObjectWritten, name: "ObjectCreated:CompleteMultipartUpload"}},
		{bridge("Object Created", "Some New Way", "k", ""), want{typ: event.ObjectWritten, name: "ObjectCreated:SomeNewWay"}},
		{bridge("Object Deleted", "DeleteObject", "k", "", `,"deletion-type":"Permanently Deleted"`), want{typ: event.ObjectDeleted, name: "ObjectRemoved:Delete"}},
		{bridge("Object Deleted", "DeleteObject", "k", `,"version-id":"v"`, `,"deletion-type":"Permanently Deleted"`), want{typ: event.ObjectVersionDeleted, name: "ObjectRemoved:Delete"}},
		{bridge("Object Deleted", "DeleteObject", "k", `,"version-id":"v"`, `,"deletion-type":"Delete Marker Created"`), want{typ: event.ObjectDeleted, name: "ObjectRemoved:DeleteMarkerCreated", marker: true}},
		{bridge("Object Deleted", "Lifecycle Expiration", "k", `,"version-id":"v"`, `,"deletion-type":"Delete Marker Created"`), want{typ: event.ObjectDeleted, name: "LifecycleExpiration:DeleteMarkerCreated", marker: true, lifecycle: true}},
		{bridge("Object Tags Added", "", "k", ""), want{typ: event.ObjectMetadataUpdated, name: "ObjectTagging:Put", change: "tags"}},
		{bridge("Object Tags Deleted", "", "k", ""), want{typ: event.ObjectMetadataUpdated, name: "ObjectTagging:Delete", change: "tags"}},
		{bridge("Object ACL Updated", "", "k", ""), want{typ: event.ObjectMetadataUpdated, name: "ObjectAcl:Put", change: "acl"}},
		{bridge("Object Restore Initiated", "", "k", ""), want{typ: event.ObjectMetadataUpdated, name: "ObjectRestore:Post", change: "restore"}},
		{bridge("Object Restore Expired", "", "k", ""), want{typ: event.ObjectMetadataUpdated, name: "ObjectRestore:Delete", change: "restore"}},
		{bridge("Object Storage Class Changed", "", "k", "", `,"destination-storage-class":"GLACIER"`), want{typ: event.ObjectMetadataUpdated, name: "LifecycleTransition", change: "tier", class: "GLACIER", lifecycle: true}},
		{bridge("Object Access Tier Changed", "", "k", "", `,"destination-access-tier":"ARCHIVE_ACCESS"`), want{typ: event.ObjectMetadataUpdated, name: "IntelligentTiering", change: "tier", class: "ARCHIVE_ACCESS"}},
		{bridge("Object Painted", "", "k", ""), want{typ: event.Unrecognized, name: "Object Painted"}},
	} {
		got := one(t, s3.AWS, c.body)
		if g := (want{got.Type, got.Name, got.Object.Change, got.Object.StorageClass, got.Object.DeleteMarker, got.Object.Lifecycle}); g != c.want {
			t.Errorf("got  %+v\nwant %+v", g, c.want)
		}
	}
}

func TestTrapEventBridgeKeysAreNeverDecoded(t *testing.T) {
	if got := key(t, one(t, s3.AWS, bridge("Object Created", "PutObject", "a+b%2Bc", ""))); got != "a+b%2Bc" {
		t.Error(got)
	}
}

func TestOneChangeThroughRecordsAndEventBridgeHasOneID(t *testing.T) {
	a := one(t, s3.AWS, records(rec{key: "k", request: "N4N7GDK58NMKJ12R", object: `,"versionId":"v","sequencer":"00617F08299329D189"`}))
	b := one(t, s3.AWS, bridge("Object Created", "PutObject", "k", `,"version-id":"v","sequencer":"617f08299329d189"`))
	if toEvent(t, a).ID() != toEvent(t, b).ID() {
		t.Error("two ids")
	}
}

func TestEventBridgeIDIsNotTheUUIDOfTheDelivery(t *testing.T) {
	body := string(bridge("Object Created", "PutObject", "k", ""))
	again := strings.Replace(body, "17793124", "27793124", 1)
	if toEvent(t, one(t, s3.AWS, []byte(body))).ID() != toEvent(t, one(t, s3.AWS, []byte(again))).ID() {
		t.Error("a redelivery has another id")
	}
}

func TestEventBridgePoison(t *testing.T) {
	good := string(bridge("Object Created", "PutObject", "k", ""))
	for reason, body := range map[string]string{
		"is from \"aws.ec2\"":                    strings.Replace(good, `"source":"aws.s3"`, `"source":"aws.ec2"`, 1),
		"decode EventBridge detail":              strings.Replace(good, `"bucket":{"name":"b"}`, `"bucket":7`, 1),
		`EventBridge event-version "2.0"`:        strings.Replace(good, `"detail":{`, `"detail":{"event-version":"2.0",`, 1),
		`bucket "c" is not a replica`:            strings.Replace(good, `{"name":"b"}`, `{"name":"c"}`, 1),
		"record of ObjectCreated:Put names no k": strings.Replace(good, `"key":"k"`, `"key":""`, 1),
	} {
		m := s3.Decode([]byte(body), func(b string) (s3.Store, bool) { s, _ := store(s3.AWS)(b); return s, b == "b" })
		if len(m.Changes) != 0 || len(m.Poison) != 1 || !strings.Contains(m.Poison[0].Reason, reason) {
			t.Errorf("%s: %+v", reason, m)
		}
	}
	if m := s3.Decode([]byte(strings.Replace(good, `"detail":{`, `"detail":{"event-version":"1.7",`, 1)), store(s3.AWS)); len(m.Changes) != 1 {
		t.Errorf("minor versions are free: %+v", m)
	}
}
