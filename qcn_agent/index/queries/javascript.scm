(class_declaration name: (identifier) @name) @definition.class
(class_heritage (identifier) @reference)
(field_definition property: (property_identifier) @name) @definition.field
(jsx_opening_element name: (identifier) @reference)
(jsx_self_closing_element name: (identifier) @reference)
