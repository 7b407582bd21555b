package emulator

import (
	"crypto/rand"
	"fmt"
	"time"
)

// Event is an event of a storage account in Event Grid's own schema.
type Event struct {
	Topic           string    `json:"topic"`
	Subject         string    `json:"subject"`
	EventType       string    `json:"eventType"`
	EventTime       string    `json:"eventTime"`
	ID              string    `json:"id"`
	Data            EventData `json:"data"`
	DataVersion     string    `json:"dataVersion"`
	MetadataVersion string    `json:"metadataVersion"`
}

// EventData is what is told of the blob. A deleted one has neither an ETag nor a length.
type EventData struct {
	API             string `json:"api"`
	ClientRequestID string `json:"clientRequestId"`
	RequestID       string `json:"requestId"`
	ETag            string `json:"eTag,omitempty"`
	ContentType     string `json:"contentType"`
	ContentLength   *int64 `json:"contentLength,omitempty"`
	BlobType        string `json:"blobType"`
	URL             string `json:"url"`
	Sequencer       string `json:"sequencer"`
}

// newEvent makes an event that happened just now, with an id of its own.
func newEvent(typ, subject, account string, d EventData) (Event, error) {
	id, err := newID()
	if err != nil {
		return Event{}, err
	}
	return Event{
		Topic: topicOf(account), Subject: subject, EventType: typ, ID: id, Data: d, MetadataVersion: "1",
		EventTime: time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z"),
	}, nil
}

func topicOf(account string) string {
	return "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/emulator/providers/Microsoft.Storage/storageAccounts/" + account
}

func newID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("draw an id: %w", err)
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
