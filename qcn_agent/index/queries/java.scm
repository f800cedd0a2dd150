(class_declaration name: (identifier) @name) @definition.class
(interface_declaration name: (identifier) @name) @definition.interface
(enum_declaration name: (identifier) @name) @definition.enum
(record_declaration name: (identifier) @name) @definition.class
(annotation_type_declaration name: (identifier) @name) @definition.interface
(method_declaration name: (identifier) @name) @definition.method
(constructor_declaration name: (identifier) @name) @definition.method
(field_declaration declarator: (variable_declarator name: (identifier) @name)) @definition.field
(enum_constant name: (identifier) @name) @definition.constant
(import_declaration) @import
(method_invocation name: (identifier) @reference)
(field_access field: (identifier) @reference)
(method_reference (identifier) @reference)
(annotation name: (identifier) @reference)
(marker_annotation name: (identifier) @reference)
(type_identifier) @reference
(string_literal) @string
(line_comment) @comment
(block_comment) @comment
