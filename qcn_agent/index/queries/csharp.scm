(class_declaration name: (identifier) @name) @definition.class
(interface_declaration name: (identifier) @name) @definition.interface
(struct_declaration name: (identifier) @name) @definition.struct
(record_declaration name: (identifier) @name) @definition.class
(enum_declaration name: (identifier) @name) @definition.enum
(delegate_declaration name: (identifier) @name) @definition.type
(namespace_declaration name: (_) @name) @definition.module
(method_declaration name: (identifier) @name) @definition.method
(constructor_declaration name: (identifier) @name) @definition.method
(property_declaration name: (identifier) @name) @definition.field
(using_directive) @import
(invocation_expression function: (identifier) @reference)
(member_access_expression name: (identifier) @reference)
(object_creation_expression type: (identifier) @reference)
(base_list (identifier) @reference)
(string_literal) @string
(verbatim_string_literal) @string
(interpolated_string_expression) @string
(comment) @comment
