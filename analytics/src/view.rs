//! What SQL sees: a view over each table of the lake, and views for questions asked often.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident};
use datafusion::prelude::SessionContext;

use crate::error::Error;
use crate::function;
use crate::table::Table;

/// A view with a name of its own.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Its name in SQL.
    pub name: &'static str,
    /// What it selects.
    pub sql: &'static str,
}

/// All of them; a view may use those before it.
pub const VIEWS: [View; 2] = [
    View { name: "denials", sql: include_str!("view/denials.sql") },
    View { name: "reservations", sql: include_str!("view/reservations.sql") },
];

/// Registers the rows of a table under its name, ids as text.
pub(crate) fn register(
    context: &SessionContext,
    table: Table,
    rows: Arc<dyn TableProvider>,
) -> Result<(), Error> {
    let id_text = function::id_text();
    let schema = rows.schema();
    let columns = schema.fields().iter().map(|field| {
        let column = ident(field.name());
        if matches!(field.data_type(), DataType::FixedSizeBinary(_)) {
            id_text.call(vec![column]).alias(field.name())
        } else {
            column
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let plan = LogicalPlanBuilder::scan(table.name(), provider_as_source(rows), None)?;
    let plan = plan.project(columns)?.build()?;
    context.register_table(table.name(), Arc::new(ViewTable::new(plan, None)))?;
    Ok(())
}

/// Registers the views over the tables.
pub(crate) async fn register_views(context: &SessionContext) -> Result<(), Error> {
    for view in VIEWS {
        let rows = context.sql(view.sql).await?.into_view();
        context.register_table(view.name, rows)?;
    }
    Ok(())
}
