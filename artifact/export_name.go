package artifact

import (
	"mime"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest name of an exported file. With a hash before it, it still fits the 255 bytes
// that file systems allow.
const maxName = 180

// reserved are the names that Windows keeps for devices, whatever their extension.
var reserved = []string{"con", "prn", "aux", "nul", "com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
	"com9", "lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9", "conin$", "conout$"}

// SafeName makes a name under which a file can be stored anywhere from one that somebody sent: the
// last element of a path of either kind, without anything that a file system, a shell or an eye would
// take for something else. Empty where nothing is left.
func SafeName(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, strings.ContainsRune(`:*?"<>|`, r):
			return '_'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r): // controls, and marks that turn the direction of writing
			return '_'
		}
		return r
	}, name)
	name = strings.Trim(name, " ")
	name = strings.TrimRight(name, ". ")
	if name == "" {
		return ""
	}
	if name[0] == '.' || name[0] == '-' {
		name = "_" + name[1:]
	}
	stem, _, _ := strings.Cut(strings.ToLower(name), ".")
	if slices.Contains(reserved, strings.TrimSpace(stem)) {
		name = "_" + name
	}
	return shorten(name)
}

// shorten cuts a name to maxName bytes and keeps its extension.
func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > 16 {
		ext = ""
	}
	n := maxName - len(ext)
	for !utf8.RuneStart(name[n]) {
		n--
	}
	return strings.TrimRight(name[:n], ". ") + ext
}

// extensions by MIME type, where the system's own list would differ from one machine to the next.
var extensions = map[string]string{
	"text/html": ".html", "text/plain": ".txt", "text/css": ".css", "text/xml": ".xml", "application/xml": ".xml",
	"application/json": ".json", "application/javascript": ".js", "text/javascript": ".js", "text/csv": ".csv",
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/svg+xml": ".svg",
	"image/bmp": ".bmp", "image/x-icon": ".ico", "image/tiff": ".tif", "application/pdf": ".pdf", "application/zip": ".zip",
	"application/gzip": ".gz", "application/x-7z-compressed": ".7z", "application/vnd.rar": ".rar", "application/x-tar": ".tar",
	"message/rfc822": ".eml", "audio/mpeg": ".mp3", "audio/wav": ".wav", "video/mp4": ".mp4", "video/webm": ".webm",
	"application/vnd.microsoft.portable-executable": ".exe", "application/x-executable": ".elf", "application/x-elf": ".elf",
	"application/msword": ".doc", "application/rtf": ".rtf", "text/rtf": ".rtf",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   ".docx",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         ".xlsx",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
	"application/pkix-cert": ".der", "application/wasm": ".wasm", "font/woff2": ".woff2", "font/woff": ".woff",
}

// extensionOf gives the usual extension of a MIME type; .bin where it has none here.
func extensionOf(mimeType string) string {
	t, _, err := mime.ParseMediaType(mimeType)
	if err == nil {
		if e, ok := extensions[t]; ok {
			return e
		}
	}
	return ".bin"
}
