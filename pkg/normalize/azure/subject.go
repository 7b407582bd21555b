package azure

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// accountOf is the storage account in the topic (the CloudEvents source) of an event, a resource id such as
// /subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/storageAccounts/A. Resource ids have no case.
func accountOf(topic string) (string, bool) {
	const marker = "/providers/microsoft.storage/storageaccounts/"
	_, account, ok := strings.Cut(strings.ToLower(topic), marker)
	return account, ok && account != "" && !strings.Contains(account, "/")
}

// blobOf is what a subject names, [/]blobServices/default/containers/CONTAINER/blobs/NAME. The name is the key as it is:
// Event Grid does not percent-encode subjects (people match suffixes of them), so "a%20b" is a blob with a percent sign.
func blobOf(subject string) (container, name string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(subject, "/"), "blobServices/default/containers/")
	if !ok {
		return "", "", false
	}
	container, name, ok = strings.Cut(rest, "/blobs/") // the first one: containers have no slash, names can have any
	return container, name, ok && container != "" && name != ""
}

// urlOf is what a URL of a blob names, still escaped. No parser of URLs fits: a "#" in a name is not escaped in them.
func urlOf(blob string) (container, name string, ok bool) {
	_, rest, ok := strings.Cut(blob, "://")
	if !ok {
		return "", "", false
	}
	_, path, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", false
	}
	container, name, ok = strings.Cut(path, "/")
	return container, name, ok && container != "" && name != ""
}

// unescape decodes a name from a URL; one that does not decode stands for itself.
func unescape(name string) string {
	if decoded, err := url.PathUnescape(name); err == nil && utf8.ValidString(decoded) {
		return decoded
	}
	return name
}

// sourceOf is the name before a rename: in the URL only. Whether this sender escapes URLs shows at the new name, which
// the subject has as it is.
func sourceOf(sourceURL, destinationURL, newName string) (container, name string, ok bool) {
	container, name, ok = urlOf(sourceURL)
	if _, shown, known := urlOf(destinationURL); known && shown == newName && unescape(shown) != newName {
		return container, name, ok
	}
	return container, unescape(name), ok
}

// lost is what stands in a subject for characters that Event Grid lost: those outside of the basic plane (emoji) were
// seen to come as two of them.
const lost = "\uFFFD"

// restore finds the name of a subject that lost characters in the URL of the blob.
func restore(name, blobURL string) (string, bool) {
	first, last := strings.Index(name, lost), strings.LastIndex(name, lost)
	if first < 0 {
		return name, true
	}
	_, shown, ok := urlOf(blobURL)
	shown = unescape(shown)
	head, tail := name[:first], name[last+len(lost):]
	return shown, ok && !strings.Contains(shown, lost) && len(shown) > len(head)+len(tail) &&
		strings.HasPrefix(shown, head) && strings.HasSuffix(shown, tail)
}
