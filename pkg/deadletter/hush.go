package deadletter

import "regexp"

// What carries secrets in texts: passwords in URLs, signatures of signed URLs, tokens and keys that are named.
var (
	userinfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/?#@"']*@`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic|sharedkey)\s+[^\s"',;]+`)
	named    = regexp.MustCompile(`(?i)([\w-]*(?:sig|signature|token|secret|password|passwd|credential|accesskey|access_key|accountkey|apikey|api_key|upload_?id)["']?\s*[=:]\s*["']?)[^\s"'&,;]+`)
)

// hush takes out of a text what looks like a secret. Errors of this project hold none; those of the servers behind it, and of
// programs that others subscribe, are not ours to trust.
func hush(s string) string {
	s = userinfo.ReplaceAllString(s, "${1}***@")
	s = bearer.ReplaceAllString(s, "${1} ***")
	return named.ReplaceAllString(s, "${1}***")
}
