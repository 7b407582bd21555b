package deadletter

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Extension attributes that a Knative broker adds to an event that it gives to a dead-letter sink. All of them may be missing:
// a subscriber that could not be reached has no answer.
const (
	extDestination = "knativeerrordest"
	extCode        = "knativeerrorcode"
	extData        = "knativeerrordata" // the beginning of the answer's body in base64

	// ownPrefix begins the attributes that are between a broker and its parts. An event that is replayed has none of them.
	ownPrefix = "knative"
)

const (
	maxReason      = 2048 // bytes
	maxDestination = 512
)

// FromKnative is the letter of an event that a Knative broker gave up on. The sink's address tells the trigger; if that is "",
// the destination has to: services have the names of their triggers.
func FromKnative(trigger string, e event.Event, now time.Time) Letter {
	l := Letter{Time: now, Trigger: trigger}
	if u, err := url.Parse(extension(e, extDestination)); err == nil && u.Host != "" {
		u.User, u.RawQuery, u.Fragment = nil, "", "" // a letter holds no secrets
		l.Destination = cut(u.String(), maxDestination)
		if l.Trigger == "" {
			l.Trigger = firstLabel(u.Hostname())
		}
	}
	l.Code, _ = strconv.Atoi(extension(e, extCode)) // a sink that tells none tells nothing
	if l.Code < 100 || l.Code > 599 {               // Knative has -1 for no answer
		l.Code = 0
	}
	l.Kind = kindOf(l.Code)
	if l.Reason = Reason(answer(extension(e, extData))); l.Reason == "" {
		l.Reason = "the subscriber did not say why"
		if l.Code == 0 {
			l.Reason = "the subscriber did not answer, or not in time"
		}
	}
	bare := e.Clone()
	for name := range e.Extensions() {
		if strings.HasPrefix(name, ownPrefix) {
			bare.SetExtension(name, nil)
		}
	}
	l.Event = &bare
	if err := written(bare); err != nil {
		l.Event, l.Raw, l.ContentType = nil, []byte(bare.String()), "text/plain"
		l.Reason = cut(l.Reason, maxReason) + "; kept as text, JSON can't hold it: " + Reason(err.Error())
	}
	return l
}

// written reports why an event would not come back from a letter as it is: binary mode lets everything through that is no JSON, and times
// that have no text.
func written(e event.Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	var again event.Event
	if err := json.Unmarshal(text, &again); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	return nil
}

// Failed reports whether an event is one that a broker gave up on, and not one for the sink itself.
func Failed(e event.Event) bool {
	for _, name := range []string{extDestination, extCode, extData} {
		if _, ok := e.Extensions()[name]; ok {
			return true
		}
	}
	return false
}

// Reason makes a reason of any text: one line, bounded, without what looks like a secret.
func Reason(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "")))
	return cut(hush(text), maxReason)
}

func cut(s string, limit int) string { return strings.ToValidUTF8(s[:min(len(s), limit)], "") }

// extension is an attribute as text, which in JSON may have been a number.
func extension(e event.Event, name string) string {
	v, ok := e.Extensions()[name]
	if !ok {
		return ""
	}
	text, err := types.Format(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return text
}

// answer decodes what is known of the answer's body. Brokers encode it; one that does not is taken at its word.
func answer(data string) string {
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return data
	}
	for i := 1; i < utf8.UTFMax && len(raw) > 0 && !utf8.Valid(raw); i++ { // it may end within a character
		raw = raw[:len(raw)-1]
	}
	if len(raw) == 0 || !utf8.Valid(raw) || strings.ContainsFunc(string(raw), func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) {
		return data
	}
	return string(raw)
}

var serviceName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// firstLabel is the name of a service in its host name; "" for an address, and for what no service is called: anybody may post.
func firstLabel(host string) string {
	label, _, named := strings.Cut(host, ".")
	if !named || !serviceName.MatchString(label) {
		return ""
	}
	return label
}

// kindOf is the kind that a status stands for, as far as it says; "" if it does not.
func kindOf(status int) string {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return errkind.Invalid.String()
	case http.StatusUnauthorized:
		return errkind.Unauthenticated.String()
	case http.StatusForbidden:
		return errkind.PermissionDenied.String()
	case http.StatusTooManyRequests:
		return errkind.Throttled.String()
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return errkind.Unavailable.String()
	}
	return ""
}
