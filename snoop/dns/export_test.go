package dns

// Text is how bytes of a label are written.
func Text(label []byte) string { return string(appendText(nil, label, '.')) }

// TypeName is how a record type is called.
func TypeName(t uint16) string { return typeName(t) }
